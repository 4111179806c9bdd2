//! Where code may name a crate: what only one folder or one file knows can be replaced there.

use super::{Finding, SourceFile};
use crate::source_text::{code_of, line_of};

struct Place {
    crate_name: &'static str,
    /// Folders (with `/` at the end) and files that may name it.
    allowed: &'static [&'static str],
}

const PLACES: [Place; 4] = [
    Place { crate_name: "openraft", allowed: &["raft/"] },
    Place { crate_name: "axum", allowed: &["api/"] },
    Place { crate_name: "reed_solomon_erasure", allowed: &["placement/src/erasure.rs", "chaos-tests/", "bench/", "deploy/xtask/"] },
    Place { crate_name: "blake3", allowed: &["placement/src/chunk.rs", "chaos-tests/", "bench/", "deploy/xtask/"] },
];

/// Checks one file.
pub(crate) fn check(file: &SourceFile) -> Vec<Finding> {
    if !file.is_rust() {
        return Vec::new();
    }
    let code = code_of(&file.text);
    let mut findings = Vec::new();
    for place in &PLACES {
        if place.allowed.iter().any(|allowed| file.path == *allowed || (allowed.ends_with('/') && file.path.starts_with(allowed))) {
            continue;
        }
        for (byte, _) in code.match_indices(place.crate_name).filter(|(byte, name)| is_crate(&code, *byte, name.len())) {
            let what = format!("`{}` may be named only in {}", place.crate_name, place.allowed[0]);
            findings.push(Finding::new(&file.path, line_of(&code, byte), what));
        }
    }
    findings
}

/// Whether the word here is a crate's: followed by `::`, or what a `use` or `extern crate` begins with. A field of that name is none.
fn is_crate(code: &str, byte: usize, length: usize) -> bool {
    let (before, after) = (&code[..byte], &code[byte + length..]);
    let word = |letter: char| letter.is_alphanumeric() || letter == '_';
    if before.ends_with(word) || after.starts_with(word) {
        return false;
    }
    // `x::blake3::y` is a module of ours; `::blake3::y` is the crate.
    let own_module = before.strip_suffix("::").is_some_and(|before| before.ends_with(word));
    let imported = ["use", "crate"].iter().any(|keyword| before.trim_end().ends_with(keyword) && before.ends_with(char::is_whitespace));
    !own_module && (after.trim_start().starts_with("::") || imported)
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn planted_names_are_found() {
        let planted = [
            ("node/src/x.rs", "use openraft::Raft;\n"),
            ("node/src/x.rs", "fn f(a: axum::Router) {}\n"),
            ("placement/src/choose.rs", "let hash = ::blake3::hash(b\"\");\n"),
            ("placement/src/repair_plan.rs", "use reed_solomon_erasure as codec;\n"),
            ("raft/src/x.rs", "extern crate blake3;\n"),
            ("api/tests/x.rs", "use {openraft::Raft};\n"),
        ];
        for (path, text) in planted {
            assert_eq!(check(&file(path, text)).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn what_is_no_crate_passes() {
        let harmless = [
            ("raft/src/x.rs", "use openraft::Raft;\n"),
            ("api/src/rest.rs", "use axum::Router;\n"),
            ("placement/src/chunk.rs", "blake3::hash(b\"\")\n"),
            ("bench/src/lib.rs", "blake3::hash(b\"\")\n"),
            ("raft/src/x.rs", "struct Hashes { blake3: [u8; 32] }\n"),
            ("raft/src/x.rs", "let blake3 = hashes.blake3;\n"),
            ("node/src/x.rs", "// as openraft::Raft does\nlet text = \"axum::\";\n"),
            ("node/src/x.rs", "use crate::blake3::Hash; let my_openraft = 1;\n"),
        ];
        for (path, text) in harmless {
            assert_eq!(check(&file(path, text)), [], "{path}: {text}");
        }
    }
}
