//! Licence expressions (SPDX, and the older `MIT/Apache-2.0`): whether one allows use under a list of accepted licences.

/// Whether the expression can be met with licences of the list; `Err` names what is not understood.
pub(crate) fn is_allowed(expression: &str, allowed: &[String]) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut parser = Parser { words: spaced.split_whitespace().collect(), place: 0, allowed };
    let outcome = parser.either()?;
    if parser.place < parser.words.len() {
        return Err(format!("unexpected `{}` in `{expression}`", parser.words[parser.place]));
    }
    Ok(outcome)
}

struct Parser<'a> {
    words: Vec<&'a str>,
    place: usize,
    allowed: &'a [String],
}

impl<'a> Parser<'a> {
    fn accept(&mut self, word: &str) -> bool {
        let there = self.words.get(self.place) == Some(&word);
        self.place += usize::from(there);
        there
    }

    fn either(&mut self) -> Result<bool, String> {
        let mut outcome = self.both()?;
        while self.accept("OR") {
            outcome |= self.both()?;
        }
        Ok(outcome)
    }

    fn both(&mut self) -> Result<bool, String> {
        let mut outcome = self.one()?;
        while self.accept("AND") {
            outcome &= self.one()?;
        }
        Ok(outcome)
    }

    fn one(&mut self) -> Result<bool, String> {
        if self.accept("(") {
            let outcome = self.either()?;
            return if self.accept(")") { Ok(outcome) } else { Err("a parenthesis is not closed".to_owned()) };
        }
        let mut name = self.name()?.to_owned();
        if self.accept("WITH") {
            name = format!("{name} WITH {}", self.name()?);
        }
        Ok(self.allowed.contains(&name))
    }

    fn name(&mut self) -> Result<&'a str, String> {
        let word = self.words.get(self.place).copied().filter(|word| !["AND", "OR", "WITH", "(", ")"].contains(word));
        self.place += 1;
        word.ok_or_else(|| "a licence is missing".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expression: &str) -> Result<bool, String> {
        is_allowed(expression, &["MIT", "Apache-2.0", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned))
    }

    #[test]
    fn expressions_are_decided() {
        for allowed in ["MIT", "MIT OR GPL-3.0", "GPL-2.0/MIT", "(MIT OR GPL-3.0) AND Unicode-3.0", "Apache-2.0 WITH LLVM-exception"] {
            assert_eq!(check(allowed), Ok(true), "{allowed}");
        }
        for refused in ["GPL-3.0", "MIT AND GPL-3.0", "GPL-3.0 OR MIT AND AGPL-3.0", "GPL-2.0 WITH Classpath-exception-2.0"] {
            assert_eq!(check(refused), Ok(false), "{refused}");
        }
    }

    #[test]
    fn nonsense_is_no_permission() {
        for nonsense in ["", "MIT OR", "(MIT", "MIT MIT", "AND MIT", "MIT WITH"] {
            assert!(check(nonsense).is_err(), "{nonsense}");
        }
    }
}
