//! Runs the scripts in `testscripts/`: each block is commands, a line `----`, and what they print up to the next empty line.
//!
//! `UPDATE_GOLDEN=1 cargo test -p skep-placement --test golden` writes what they print into the scripts; read the difference before you keep it.

mod interpreter;

use std::path::Path;

use interpreter::Interpreter;

#[test]
fn choose() {
    run("choose.txt");
}

#[test]
fn placement_map() {
    run("placement_map.txt");
}

#[test]
fn repair_plan() {
    run("repair_plan.txt");
}

#[test]
fn profile() {
    run("profile.txt");
}

fn run(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testscripts").join(name);
    let script = std::fs::read_to_string(&path).expect("the script can be read");
    let printed = execute(&script);
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(&path, printed).expect("the script can be written");
        return;
    }
    for (number, (expected, found)) in (1..).zip(script.lines().zip(printed.lines())) {
        assert_eq!(found, expected, "{name}:{number}");
    }
    assert_eq!(printed, script, "{name}: one is longer than the other");
}

/// The script with what its commands print now.
fn execute(script: &str) -> String {
    let mut interpreter = Interpreter::default();
    let mut printed = Vec::new();
    for block in script.trim_end().split("\n\n") {
        let commands: Vec<&str> = block.lines().take_while(|line| *line != "----").collect();
        let mut lines: Vec<String> = commands.iter().map(|line| (*line).to_owned()).collect();
        let active: Vec<&&str> = commands.iter().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        if !active.is_empty() {
            lines.push("----".to_owned());
            for command in active {
                lines.extend(interpreter.run(command).unwrap_or_else(|fault| vec![format!("error: {fault}")]));
            }
        }
        printed.push(lines.join("\n"));
    }
    printed.join("\n\n") + "\n"
}
