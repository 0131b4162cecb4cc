//! BERT's encoder on matrices of candle.

use candle_core::{CpuStorage, Device, InplaceOp1, InplaceOp2, Layout, Tensor};

use crate::description::{OpenError, Shape};
use crate::kernel::{Norm, add_to_rows, gelu_rows, softmax_rows};
use crate::weights::Weights;

/// The weights of an encoder, ready to be used.
#[derive(Debug)]
pub(crate) struct Bert {
    embeddings: Embeddings,
    layers: Vec<Layer>,
    shape: Shape,
}

/// The tokens of a text, or of two texts that belong together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sequence<'a> {
    pub(crate) tokens: &'a [u32],
    /// Where the second text begins; after the last token if there is none.
    pub(crate) second: usize,
}

impl<'a> Sequence<'a> {
    /// Of a single text.
    pub(crate) const fn single(tokens: &'a [u32]) -> Self {
        Self {
            tokens,
            second: tokens.len(),
        }
    }
}

#[derive(Debug)]
struct Embeddings {
    norm: Norm,
    /// The first type, which all tokens of a single text have, is already added.
    positions: Vec<f32>,
    /// What the second type, which the tokens of a second text have, adds to the first one.
    second: Vec<f32>,
    words: Vec<f32>,
}

#[derive(Debug)]
struct Layer {
    attended: Linear,
    attended_norm: Norm,
    down: Linear,
    down_norm: Norm,
    /// Queries, keys and values in one.
    projections: Linear,
    up: Linear,
}

#[derive(Debug)]
struct Linear {
    bias: Vec<f32>,
    /// Inputs by outputs.
    weight: Tensor,
}

impl Bert {
    pub(crate) fn read(weights: &mut Weights, shape: &Shape) -> Result<Self, OpenError> {
        // A model that was made for another task keeps its encoder under a name.
        let prefix = if weights.has("bert.embeddings.word_embeddings.weight") {
            "bert."
        } else {
            ""
        };
        let embeddings = Embeddings::read(weights, shape, &format!("{prefix}embeddings"))?;
        let layers = (0..shape.layers)
            .map(|layer| Layer::read(weights, shape, &format!("{prefix}encoder.layer.{layer}")))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            embeddings,
            layers,
            shape: shape.clone(),
        })
    }

    /// Computes the vectors of the tokens of several texts, one text after the other.
    pub(crate) fn encode(&self, texts: &[Sequence<'_>]) -> candle_core::Result<Vec<f32>> {
        let mut hidden = self.embeddings.look_up(texts, self.shape.hidden)?;
        for layer in &self.layers {
            let projected = layer.projections.apply(&hidden)?;
            let bias = &layer.projections.bias;
            projected.inplace_op1(&Rows(|rows: &mut [f32]| add_to_rows(rows, bias)))?;
            let attended = layer.attended.apply(&self.attend(&projected, texts)?)?;
            attended.inplace_op2(&hidden, &layer.attended_norm.after(&layer.attended))?;
            let wide = layer.up.apply(&attended)?;
            let bias = &layer.up.bias;
            wide.inplace_op1(&Rows(|rows: &mut [f32]| gelu_rows(rows, bias)))?;
            hidden = layer.down.apply(&wide)?;
            hidden.inplace_op2(&attended, &layer.down_norm.after(&layer.down))?;
        }
        hidden.flatten_all()?.to_vec1()
    }

    fn attend(&self, projected: &Tensor, texts: &[Sequence<'_>]) -> candle_core::Result<Tensor> {
        let Shape { heads, hidden, .. } = self.shape;
        let depth = hidden / heads;
        let scale = 1.0 / (depth as f32).sqrt();
        let mut start = 0;
        let mut attended = Vec::new();
        for text in texts {
            let count = text.tokens.len();
            let part = projected
                .narrow(0, start, count)?
                .reshape((count, 3, heads, depth))?;
            let part = part.permute((1, 2, 0, 3))?;
            let (queries, keys, values) = (part.get(0)?, part.get(1)?, part.get(2)?);
            let scores = queries.matmul(&keys.t()?)?;
            scores.inplace_op1(&Rows(|rows: &mut [f32]| softmax_rows(rows, count, scale)))?;
            let mixed = scores.matmul(&values)?;
            attended.push(mixed.transpose(0, 1)?.reshape((count, hidden))?);
            start += count;
        }
        Tensor::cat(&attended, 0)
    }
}

impl Embeddings {
    fn read(weights: &mut Weights, shape: &Shape, name: &str) -> Result<Self, OpenError> {
        let Shape {
            hidden,
            positions,
            types,
            vocabulary,
            ..
        } = *shape;
        let words = weights.read(
            &format!("{name}.word_embeddings.weight"),
            &[vocabulary, hidden],
        )?;
        let mut positions = weights.read(
            &format!("{name}.position_embeddings.weight"),
            &[positions, hidden],
        )?;
        let types = weights.read(
            &format!("{name}.token_type_embeddings.weight"),
            &[types, hidden],
        )?;
        for position in positions.chunks_exact_mut(hidden) {
            for (x, first) in position.iter_mut().zip(&types) {
                *x += first;
            }
        }
        let (first, rest) = types.split_at(hidden);
        let second = first.iter().zip(rest).map(|(first, second)| second - first);
        let mut second: Vec<f32> = second.collect();
        second.resize(hidden, 0.0);
        let norm = read_norm(weights, shape, &format!("{name}.LayerNorm"))?;
        Ok(Self {
            norm,
            positions,
            second,
            words,
        })
    }

    fn look_up(&self, texts: &[Sequence<'_>], width: usize) -> candle_core::Result<Tensor> {
        let count: usize = texts.iter().map(|text| text.tokens.len()).sum();
        let mut rows = Vec::with_capacity(count * width);
        for text in texts {
            let positions = self.positions.chunks_exact(width);
            for (place, (token, position)) in text.tokens.iter().zip(positions).enumerate() {
                let start = rows.len();
                let word = &self.words[*token as usize * width..][..width];
                rows.extend(
                    word.iter()
                        .zip(position)
                        .map(|(word, position)| word + position),
                );
                if place >= text.second {
                    let row = rows[start..].iter_mut();
                    row.zip(&self.second).for_each(|(x, second)| *x += second);
                }
            }
        }
        self.norm.rows(&mut rows);
        Tensor::from_vec(rows, (count, width), &Device::Cpu)
    }
}

impl Layer {
    fn read(weights: &mut Weights, shape: &Shape, name: &str) -> Result<Self, OpenError> {
        let Shape {
            hidden,
            intermediate,
            ..
        } = *shape;
        let mut linear = |part: &str, inputs, outputs| {
            Linear::read(weights, &[&format!("{name}.{part}")], inputs, outputs)
        };
        let attended = linear("attention.output.dense", hidden, hidden)?;
        let up = linear("intermediate.dense", hidden, intermediate)?;
        let down = linear("output.dense", intermediate, hidden)?;
        let own = |part: &str| format!("{name}.attention.self.{part}");
        let projections = Linear::read(
            weights,
            &[&own("query"), &own("key"), &own("value")],
            hidden,
            hidden,
        )?;
        Ok(Self {
            attended,
            attended_norm: read_norm(
                weights,
                shape,
                &format!("{name}.attention.output.LayerNorm"),
            )?,
            down,
            down_norm: read_norm(weights, shape, &format!("{name}.output.LayerNorm"))?,
            projections,
            up,
        })
    }
}

impl Linear {
    fn read(
        weights: &mut Weights,
        names: &[&str],
        inputs: usize,
        outputs: usize,
    ) -> Result<Self, OpenError> {
        let (mut bias, mut weight) = (Vec::new(), Vec::new());
        for name in names {
            weight.extend(weights.read(&format!("{name}.weight"), &[outputs, inputs])?);
            bias.extend(weights.read(&format!("{name}.bias"), &[outputs])?);
        }
        let weight = transposed(weight, inputs).map_err(|error| OpenError::Malformed {
            path: weights.path().to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self { bias, weight })
    }

    fn apply(&self, rows: &Tensor) -> candle_core::Result<Tensor> {
        rows.matmul(&self.weight)
    }
}

/// Turns outputs by inputs, as files have it, into the order that multiplies faster.
fn transposed(weight: Vec<f32>, inputs: usize) -> candle_core::Result<Tensor> {
    let outputs = weight.len() / inputs;
    Tensor::from_vec(weight, (outputs, inputs), &Device::Cpu)?
        .t()?
        .contiguous()
}

fn read_norm(weights: &mut Weights, shape: &Shape, name: &str) -> Result<Norm, OpenError> {
    Ok(Norm {
        bias: weights.read(&format!("{name}.bias"), &[shape.hidden])?,
        epsilon: shape.norm_epsilon,
        weight: weights.read(&format!("{name}.weight"), &[shape.hidden])?,
    })
}

/// A function of rows as candle calls it: on a matrix that this crate made, whole and in order.
struct Rows<F>(F);

impl<F: Fn(&mut [f32])> InplaceOp1 for Rows<F> {
    fn name(&self) -> &'static str {
        "rows"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _layout: &Layout) -> candle_core::Result<()> {
        (self.0)(numbers(storage)?);
        Ok(())
    }
}

/// The normalisation of a sum: of a matrix product, its bias and a residual.
struct SumNorm<'a> {
    bias: &'a [f32],
    norm: &'a Norm,
}

impl Norm {
    fn after<'a>(&'a self, linear: &'a Linear) -> SumNorm<'a> {
        SumNorm {
            bias: &linear.bias,
            norm: self,
        }
    }
}

impl InplaceOp2 for SumNorm<'_> {
    fn name(&self) -> &'static str {
        "norm"
    }

    fn cpu_fwd(
        &self,
        storage: &mut CpuStorage,
        _layout: &Layout,
        residual: &CpuStorage,
        _residual_layout: &Layout,
    ) -> candle_core::Result<()> {
        let residual = residual.as_slice()?;
        self.norm.sum_rows(numbers(storage)?, self.bias, residual);
        Ok(())
    }
}

fn numbers(storage: &mut CpuStorage) -> candle_core::Result<&mut [f32]> {
    let CpuStorage::F32(numbers) = storage else {
        candle_core::bail!("a matrix is not of float32");
    };
    Ok(numbers)
}
