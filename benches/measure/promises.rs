//! What was promised, and whether it held.

use std::process::ExitCode;

/// Prints each figure beside its bound.
#[derive(Debug, Default)]
pub struct Promises {
    broken: usize,
}

impl Promises {
    pub fn at_most(&mut self, what: &str, figure: f64, bound: f64) {
        self.say(what, figure, "at most", bound, figure <= bound);
    }

    pub fn at_least(&mut self, what: &str, figure: f64, bound: f64) {
        self.say(what, figure, "at least", bound, figure >= bound);
    }

    fn say(&mut self, what: &str, figure: f64, how: &str, bound: f64, holds: bool) {
        self.broken += usize::from(!holds);
        println!("{} {what}: {figure:.2}, {how} {bound:.2}", if holds { "kept  " } else { "BROKEN" });
    }

    pub fn kept(&self) -> ExitCode {
        if self.broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
