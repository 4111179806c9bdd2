//! One piece of work that is measured, with all that it needs made beforehand.

use std::any::Any;
use std::fmt;
use std::hint::black_box;

/// Work that is ready to be done. What is left of it afterwards is handed out, so that taking it apart is not measured.
pub(crate) type Work = Box<dyn FnMut() -> Left>;

/// What is left of work, if anything.
pub(crate) type Left = Option<Box<dyn Any>>;

/// What one run of a case goes through, so that its time can be told as a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Bytes.
    Bytes(u64),
    /// Things: keys, commands, rows.
    Things(u64),
}

/// A piece of work that is measured.
pub struct Case {
    pub(crate) name: &'static str,
    pub(crate) amount: Amount,
    pub(crate) is_used_up: bool,
    prepare: Box<dyn Fn() -> Work>,
}

impl Case {
    /// Work that can be done again and again with what `prepare` made once. The name is `group/work`.
    pub fn repeated<W: FnMut() + 'static>(name: &'static str, amount: Amount, prepare: impl Fn() -> W + 'static) -> Self {
        let prepare = move || {
            let mut work = prepare();
            let again = move || {
                work();
                None
            };
            Box::new(again) as Work
        };
        Self { name, amount, is_used_up: false, prepare: Box::new(prepare) }
    }

    /// Work that uses up what `prepare` makes, or makes it grow: it is prepared anew for each run. What it returns is dropped unmeasured.
    ///
    /// # Panics
    /// If prepared work is done twice, which [`run`](crate::run) does not.
    pub fn once<L: 'static, W: FnOnce() -> L + 'static>(name: &'static str, amount: Amount, prepare: impl Fn() -> W + 'static) -> Self {
        let prepare = move || {
            let mut work = Some(prepare());
            let once = move || {
                let left = work.take().expect("it is prepared anew for each run")();
                Some(Box::new(black_box(left)) as Box<dyn Any>)
            };
            Box::new(once) as Work
        };
        Self { name, amount, is_used_up: true, prepare: Box::new(prepare) }
    }

    pub(crate) fn prepare(&self) -> Work {
        (self.prepare)()
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("amount", &self.amount).finish_non_exhaustive()
    }
}
