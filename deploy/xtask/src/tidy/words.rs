//! Words that must not be left behind: paths of one machine, unfinished code, tests that are switched off.

use super::{Finding, SourceFile};
use crate::source_text::{code_of, line_of};

// Put together, so that this file keeps its own rule.
const MACHINE_PATHS: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/fa", "rm/")];
const UNFINISHED: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];
const FORBIDDEN_CODE: [(&str, &str); 3] = [
    (concat!("to", "do!"), "unfinished code"),
    (concat!("unimplem", "ented!"), "unfinished code"),
    (concat!("#[ig", "nore"), "a test is not switched off: it says why it cannot run here and counts as skipped"),
];

/// Checks one file.
pub(crate) fn check(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in MACHINE_PATHS {
        for (byte, _) in file.text.match_indices(path).filter(|(byte, _)| begins_a_path(&file.text[..*byte])) {
            findings.push(Finding::new(&file.path, line_of(&file.text, byte), format!("`{path}` is a folder of one machine")));
        }
    }
    if !file.is_rust() {
        return findings;
    }
    for word in UNFINISHED {
        for (byte, _) in file.text.match_indices(word).filter(|(byte, _)| stands_alone(&file.text, *byte, word.len())) {
            findings.push(Finding::new(&file.path, line_of(&file.text, byte), format!("`{word}`: finish it or leave it out")));
        }
    }
    let code = code_of(&file.text);
    for (word, why) in FORBIDDEN_CODE {
        for (byte, _) in
            code.match_indices(word).filter(|(byte, _)| !code[..*byte].ends_with(|letter: char| letter == '_' || letter.is_alphanumeric()))
        {
            findings.push(Finding::new(&file.path, line_of(&code, byte), format!("`{word}`: {why}")));
        }
    }
    findings
}

fn begins_a_path(before: &str) -> bool {
    !before.ends_with(|letter: char| letter.is_alphanumeric() || "._-~/}>*".contains(letter))
}

fn stands_alone(text: &str, byte: usize, length: usize) -> bool {
    let word = |letter: char| letter.is_alphanumeric() || letter == '_';
    !text[..byte].ends_with(word) && !text[byte + length..].starts_with(word)
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn planted_words_are_found() {
        let planted = [
            ("README.md", format!("see `{}shared`\n", MACHINE_PATHS[0])),
            (".ci/run", format!("cd {}x\n", MACHINE_PATHS[1])),
            ("a/src/x.rs", format!("const P: &str = \"{}x\";\n", MACHINE_PATHS[2])),
            ("a/src/x.rs", format!("fn f() {{ {}() }}\n", FORBIDDEN_CODE[0].0)),
            ("a/src/x.rs", format!("fn f() {{ {}(\"later\") }}\n", FORBIDDEN_CODE[1].0)),
            ("a/src/x.rs", format!("#[test]\n{} = \"slow\"]\nfn f() {{}}\n", FORBIDDEN_CODE[2].0)),
            ("a/src/x.rs", format!("// {}: the rest\n", UNFINISHED[0])),
        ];
        for (path, text) in planted {
            assert_eq!(check(&file(path, &text)).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn harmless_words_pass() {
        let harmless = [
            ("README.md", format!("https://example.org{}x and $HOME{}x\n", MACHINE_PATHS[1], MACHINE_PATHS[0])),
            ("a/src/x.rs", format!("// not {}()\nlet text = \"{}\";\n", FORBIDDEN_CODE[0].0, FORBIDDEN_CODE[2].0)),
            ("a/src/x.rs", format!("fn f() {{ my_{}() }}\n", FORBIDDEN_CODE[0].0)),
            ("docs/plan.md", format!("{}: written by hand\n", UNFINISHED[0])),
        ];
        for (path, text) in harmless {
            assert_eq!(check(&file(path, &text)), [], "{path}: {text}");
        }
    }

    #[test]
    fn the_line_is_named() {
        assert_eq!(check(&file("x", &format!("a\nb\n {}\n", MACHINE_PATHS[0])))[0].line, 3);
    }
}
