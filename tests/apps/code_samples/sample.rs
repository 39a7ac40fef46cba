use std::fmt;

/// A stack.
#[derive(Debug)]
pub struct Stack<T> {
    items: Vec<T>,
}

impl<T> Stack<T> {
    /// Adds one.
    pub fn push(&mut self, item: T) {
        self.items.push(item);
    }
}

mod tools {
    pub fn sum(values: &[i32]) -> i32 {
        values.iter().sum()
    }
}
