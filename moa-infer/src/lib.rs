//! moa-infer
