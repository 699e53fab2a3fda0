//! How much one execution may take.

use std::time::Instant;

/// Bounds of an execution; what exceeds them is an error.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How deep templates may call each other. Each level takes some kilobytes of stack; where the thread's own does
    /// not suffice, more is taken from the heap.
    pub depth: u32,
    /// How many nodes may be executed.
    pub steps: u64,
    /// How many bytes may be written, also into texts that functions take up again.
    pub output: u64,
    /// When to give up.
    pub deadline: Option<Instant>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 100, steps: 50_000_000, output: 512 << 20, deadline: None }
    }
}

#[derive(Debug)]
pub(super) struct Meter {
    limits: Limits,
    depth: u32,
    steps: u64,
    output: u64,
}

impl Meter {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, depth: 0, steps: 0, output: 0 }
    }

    pub(super) fn enter(&mut self) -> Result<(), String> {
        if self.depth >= self.limits.depth {
            return Err(format!("exceeded maximum template depth ({})", self.limits.depth));
        }
        self.depth += 1;
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    pub(super) fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
        if self.steps > self.limits.steps {
            return Err(format!("exceeded maximum number of steps ({})", self.limits.steps));
        }
        if self.steps.is_multiple_of(4096)
            && let Some(deadline) = self.limits.deadline
            && Instant::now() > deadline
        {
            return Err("exceeded the time for rendering".to_owned());
        }
        Ok(())
    }

    pub(super) fn written(&mut self, bytes: usize) -> Result<(), String> {
        self.output += bytes as u64;
        if self.output > self.limits.output {
            return Err(format!("exceeded maximum output size ({} bytes)", self.limits.output));
        }
        Ok(())
    }
}
