//! Every use case takes a proof of rights by value: a parameter of type `Authorized<…>`.
//!
//! A function of `api/src/service` that needs none says so in its documentation, on a line `Public:` with the reason.

use super::{Finding, SourceFile};
use crate::source_text::{code_of, line_of};

const PROOF: &str = "Authorized<";
const EXCEPTION: &str = "Public:";

/// Checks one file.
pub(crate) fn check(file: &SourceFile) -> Vec<Finding> {
    let in_service = file.path == "api/src/service.rs" || file.path.starts_with("api/src/service/");
    if !in_service || !file.is_rust() {
        return Vec::new();
    }
    let code = code_of(&file.text);
    let mut findings = Vec::new();
    for (byte, _) in code.match_indices("pub ").filter(|(byte, _)| !code[..*byte].ends_with(is_word)) {
        let Some(function) = parse(&code[byte..]) else {
            continue;
        };
        let line = line_of(&code, byte);
        if function.takes_proof() || is_excepted(&file.text, line) {
            continue;
        }
        let what = format!(
            "`{}` takes no `Authorized<…>` by value: a use case needs the proof of rights, or a line `Public:` with the reason in its documentation",
            function.name
        );
        findings.push(Finding::new(&file.path, line, what));
    }
    findings
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

struct Function {
    name: String,
    parameters: Vec<String>,
}

impl Function {
    fn takes_proof(&self) -> bool {
        self.parameters.iter().filter_map(|parameter| split_type(parameter)).any(|kind| {
            let path = kind.split('<').next().unwrap_or(kind);
            let last = path.rsplit("::").next().unwrap_or(path).trim();
            kind.contains(PROOF) && format!("{last}<") == PROOF
        })
    }
}

/// The type of `pattern: Type`; a pattern holds no single colon.
fn split_type(parameter: &str) -> Option<&str> {
    let colon = parameter
        .match_indices(':')
        .map(|(at, _)| at)
        .find(|at| !parameter[at + 1..].starts_with(':') && !parameter[..*at].ends_with(':'))?;
    Some(parameter[colon + 1..].trim())
}

/// Reads `pub [const] [async] [unsafe] fn name<…>(…)`; none if this is something else that is public.
fn parse(code: &str) -> Option<Function> {
    let mut rest = code.strip_prefix("pub ")?.trim_start();
    for qualifier in ["const ", "async ", "unsafe "] {
        rest = rest.strip_prefix(qualifier).unwrap_or(rest).trim_start();
    }
    let rest = rest.strip_prefix("fn ")?.trim_start();
    let name_end = rest.find(|letter| !is_word(letter))?;
    let (name, mut rest) = (&rest[..name_end], rest[name_end..].trim_start());
    if rest.starts_with('<') {
        rest = rest[closing(rest)? + 1..].trim_start();
    }
    let inside = rest.get(1..closing(rest)?)?;
    Some(Function { name: name.to_owned(), parameters: split_parameters(inside) })
}

/// The place of the bracket that closes the one this text begins with; the `>` of an arrow closes nothing.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0u32;
    let mut before = ' ';
    for (at, letter) in text.char_indices() {
        match letter {
            '(' | '[' | '{' | '<' => depth += 1,
            '>' if matches!(before, '-' | '=') => {}
            ')' | ']' | '}' | '>' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        before = letter;
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

fn split_parameters(inside: &str) -> Vec<String> {
    let mut parameters = vec![String::new()];
    let mut depth = 0i32;
    let mut before = ' ';
    for letter in inside.chars() {
        match letter {
            '(' | '[' | '{' | '<' => depth += 1,
            '>' if before == '-' => {}
            ')' | ']' | '}' | '>' => depth -= 1,
            _ => {}
        }
        before = letter;
        if letter == ',' && depth == 0 {
            parameters.push(String::new());
        } else if let Some(last) = parameters.last_mut() {
            last.push(letter);
        }
    }
    parameters.iter().map(|parameter| parameter.trim().to_owned()).filter(|parameter| !parameter.is_empty()).collect()
}

/// Whether the documentation above this line has a line `Public:` and a reason.
fn is_excepted(text: &str, line: usize) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    let above = lines[..line - 1].iter().rev().map(|line| line.trim());
    let documentation = above.take_while(|line| line.starts_with("///") || line.starts_with("#[") || line.ends_with(")]"));
    documentation.filter_map(|line| line.strip_prefix("///")?.trim().strip_prefix(EXCEPTION)).any(|reason| !reason.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn findings(text: &str) -> Vec<usize> {
        check(&file("api/src/service/tree.rs", text)).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_proof_by_value_passes() {
        let good = [
            "pub async fn stat(&self, proof: Authorized<Read, EntryRef>) -> Result<Stat, Fault> {}",
            "pub fn stat(proof: rights::Authorized<Read, EntryRef>, path: &str) {}",
            "    pub async fn copy<F: Fn(u8) -> u8>(\n        &self,\n        from: Authorized<Read, Path>,\n        to: Authorized<Write, Path>,\n    ) {}",
            "pub async fn list(&self, page: (u32, u32), mut proof: Authorized<List, (A, B)>) {}",
            "pub(crate) fn inner(&self) {}\nfn private() {}\npub struct Tree;\npub const X: u8 = 1;\npub mod x;",
            "// pub fn in_comment(&self) {}\nconst T: &str = \"pub fn in_text(&self) {}\";",
        ];
        for text in good {
            assert!(findings(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_use_case_without_a_proof_is_found() {
        let planted = [
            "pub async fn stat(&self, path: &str) -> Result<Stat, Fault> {}",
            "pub fn by_reference(&self, proof: &Authorized<Read, EntryRef>) {}",
            "pub fn optional(&self, proof: Option<Authorized<Read, EntryRef>>) {}",
            "pub fn of_another_name(&self, proof: NotAuthorized<Read>) {}",
            "pub fn only_returned(&self) -> Authorized<Read, EntryRef> {}",
            "pub const fn nothing() {}",
            "pub fn bound<T: Into<Authorized<Read, X>>>(proof: T) {}",
        ];
        for text in planted {
            assert_eq!(findings(text), [1], "{text}");
        }
        assert_eq!(findings("impl Tree {\n    /// Finds.\n    pub fn find(&self) {}\n}\n"), [3]);
    }

    #[test]
    fn an_exception_needs_a_reason() {
        assert!(
            findings("/// Signs in.\n///\n/// Public: who signs in has no rights yet.\n#[must_use]\npub fn sign_in(&self) {}").is_empty()
        );
        assert_eq!(findings("/// Public:\npub fn sign_in(&self) {}"), [2]);
        assert_eq!(findings("/// Public: this one.\npub fn one(&self) {}\npub fn other(&self) {}"), [3]);
    }

    #[test]
    fn other_folders_are_free() {
        assert_eq!(check(&file("api/src/rest/tree.rs", "pub fn stat(&self) {}")), []);
    }
}
