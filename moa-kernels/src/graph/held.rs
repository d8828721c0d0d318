//! What a backward pass reads of its operation's arguments.

use super::tape::again;
use candle_core::{Result, Tensor};
use std::sync::{Arc, Mutex};

/// A tensor that is computed once more when it is read, instead of being kept until then.
pub struct Again {
    make: Box<dyn Fn() -> Result<Tensor> + Send + Sync>,
    /// From the first reader on, for the others.
    made: Mutex<Option<Tensor>>,
}

impl Again {
    pub fn new(make: impl Fn() -> Result<Tensor> + Send + Sync + 'static) -> Self {
        Self { make: Box::new(make), made: Mutex::new(None) }
    }

    fn get(&self) -> Result<Tensor> {
        let mut made = self.made.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(made) = &*made {
            return Ok(made.clone());
        }
        let new = (self.make)()?;
        *made = Some(new.clone());
        Ok(new)
    }
}

/// An argument, until the backward pass is through with it.
pub enum Held {
    Kept(Tensor),
    Again(Arc<Again>),
}

impl Held {
    pub fn of(t: &Tensor) -> Self {
        again(t.id()).map_or_else(|| Self::Kept(t.clone()), Self::Again)
    }

    pub fn get(&self) -> Result<Tensor> {
        match self {
            Self::Kept(t) => Ok(t.clone()),
            Self::Again(again) => again.get(),
        }
    }
}
