//! A classifier: backbone, adapters, head; and the folder that holds its
//! trained part.

mod classifier;
mod disk;
mod folder;
mod head;

pub use classifier::{Build, Classifier, initial};
pub use disk::{on_disk, read_tensors, tensors_from_bytes, write_half, write_tensors};
pub use folder::{AdapterFolder, BackboneRef, CONFIG_FILE, Card, TENSOR_FILE, Training};
pub use head::{Head, HeadInput};
