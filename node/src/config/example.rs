//! The example file with a comment for every key, made from the list of keys.

use std::fmt::Write;

use super::keys::{SECTIONS, environment_name};

/// The example configuration: what must be said stands as it is, everything else as a comment with its default.
pub fn example() -> String {
    let mut text = String::from(
        "# Configuration of a Skep node.\n\
         #\n\
         # Lines that begin with `#` and a key show the default. Each key can also be said by an environment variable (its name\n\
         # stands with it) and on the command line by `--set section.key=value`; the command line wins over the environment, the\n\
         # environment over this file. Relative paths begin at the folder of this file. Unknown keys are refused.\n",
    );
    for section in SECTIONS {
        let (open, close) = if section.repeated { ("[[", "]]") } else { ("[", "]") };
        text.push_str("\n# ");
        text.push_str(section.comment);
        if section.repeated {
            write!(text, "\n# {}=PATH,PATH=WEIGHT,… replaces them all.", environment_name(section.name)).expect(STRING);
        }
        write!(text, "\n{open}{}{close}\n", section.name).expect(STRING);
        for key in section.keys {
            for line in key.comment.lines() {
                writeln!(text, "# {line}").expect(STRING);
            }
            if !section.repeated {
                writeln!(text, "# {}", environment_name(&format!("{}.{}", section.name, key.name))).expect(STRING);
            }
            let mark = if key.required { "" } else { "#" };
            writeln!(text, "{mark}{} = {}", key.name, key.example).expect(STRING);
        }
    }
    text
}

const STRING: &str = "writing to a string cannot fail";
