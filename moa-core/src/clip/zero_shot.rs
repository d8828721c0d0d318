//! Classes from their names.

use super::{TextTokenizer, TextTower};
use crate::backbone::Backbone;
use crate::error::{Error, Result};
use candle_core::{D, DType, Device, Tensor};

/// What a class name is put into unless the user says otherwise.
pub const TEMPLATE: &str = "a photo of a {}.";

/// A classifier made of the names of its classes: the cosine of an image's feature with
/// that of each class's text, times the model's own scale.
#[derive(Clone, Debug)]
pub struct ZeroShot {
    /// `[classes, embed]`, rows of length 1.
    text: Tensor,
    /// `[embed, dim]`
    projection: Tensor,
    scale: f64,
}

impl ZeroShot {
    /// Encodes the classes with the text tower of `backbone`. Each class is the mean over
    /// `templates` (`{}` stands for the name), as in the CLIP paper; `_` in names is read
    /// as a space.
    ///
    /// # Errors
    /// If there is no text tower, no class, or a template without `{}`.
    pub fn new(
        backbone: &Backbone,
        tokenizer: &TextTokenizer,
        classes: &[String],
        templates: &[String],
        device: &Device,
    ) -> Result<Self> {
        let tower = TextTower::open(backbone, device)?;
        if let Some(bad) = templates.iter().find(|template| !template.contains("{}")) {
            return Err(Error::adapter(bad, "the template has no {} for the name of a class"));
        }
        if classes.is_empty() || templates.is_empty() {
            return Err(Error::adapter("zero-shot", "name at least one class and one template"));
        }
        let mut rows = Vec::with_capacity(classes.len());
        for class in classes {
            let name = class.replace('_', " ");
            let texts = templates.iter().map(|template| template.replace("{}", &name));
            let ids = texts.map(|text| tokenizer.encode(&text, tower.config.context));
            let features = tower.forward(&ids.collect::<Result<Vec<_>>>()?)?;
            rows.push(unit(&unit(&features)?.mean_keepdim(0)?)?);
        }
        let raw = backbone.read("projection.weight")?;
        let projection = Tensor::from_vec(raw.data, raw.shape, device)?;
        Ok(Self { text: Tensor::cat(&rows, 0)?, projection, scale: tower.logit_scale })
    }

    /// # Shapes
    /// `features` `[b, dim]` as the vision tower pools them; the result is `[b, classes]`
    /// (open_clip and transformers `logits_per_image`).
    ///
    /// # Errors
    /// If the features have another width.
    pub fn logits(&self, features: &Tensor) -> Result<Tensor> {
        let image = features.to_dtype(DType::F32)?.matmul(&self.projection.t()?)?;
        Ok((unit(&image)?.matmul(&self.text.t()?)? * self.scale)?)
    }

    /// Weight `[classes, dim]` and bias of a linear head that ranks classes in the same
    /// order: its logits are those of [`ZeroShot::logits`] times the length of the
    /// projected feature.
    ///
    /// # Errors
    /// Only if the device fails.
    pub fn head(&self) -> Result<(Tensor, Tensor)> {
        let weight = (self.text.matmul(&self.projection)? * self.scale)?;
        let bias = Tensor::zeros(weight.dim(0)?, DType::F32, weight.device())?;
        Ok((weight, bias))
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.text.dims().first().copied().unwrap_or(0)
    }
}

/// Rows of length 1.
fn unit(x: &Tensor) -> Result<Tensor> {
    Ok(x.broadcast_div(&x.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?)?)
}
