//! BERT's encoder on matrices of candle.

use std::ops::Range;

use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Storage, Tensor};
use rayon::prelude::*;

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
    /// Panels by inputs by outputs of a panel. A panel lies in memory in the order in which it is read: without
    /// panels each input is in another page, and a short text takes twice as long.
    panels: Tensor,
}

/// Outputs in a panel, where the outputs can be divided: as many as the product computes at a time with AVX-512.
const PANEL: usize = 64;

/// Rows that are multiplied at a time, and finished while they are in the processor's cache: a multiple of the six rows
/// that the product computes at a time.
const BLOCK: usize = 96;

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

    /// Computes the vectors of the tokens of several texts, one text after the other. A single text is shared out
    /// between so many threads of rayon's. (Whoever has much to compute leaves one thread to each call.)
    pub(crate) fn encode(
        &self,
        texts: &[Sequence<'_>],
        threads: usize,
    ) -> candle_core::Result<Vec<f32>> {
        let shares = shares(texts, threads);
        let rows = self.embeddings.look_up(texts, self.shape.hidden)?;
        let project = |hidden: Tensor, layer: Option<&Layer>| {
            let projected = layer.map(|layer| layer.project(&hidden)).transpose()?;
            Ok((hidden, projected))
        };
        let begin = |share: &Share| {
            let rows = rows.narrow(0, share.rows.start, share.rows.len())?;
            project(rows, self.layers.first())
        };
        let computed = shares.par_iter().map(begin);
        let mut computed = computed.collect::<candle_core::Result<Vec<Computed>>>()?;
        for (at, layer) in self.layers.iter().enumerate() {
            let projected = computed.iter().filter_map(|(_, rows)| rows.as_ref());
            let projected = Tensor::cat(&Vec::from_iter(projected), 0)?;
            let step = |(share, (hidden, _)): (&Share, &Computed)| {
                let attended = self.attend(&projected, share)?;
                project(layer.apply(hidden, &attended)?, self.layers.get(at + 1))
            };
            let steps = shares.par_iter().zip(&computed).map(step);
            computed = steps.collect::<candle_core::Result<_>>()?;
        }
        let mut rows = Vec::with_capacity(rows.elem_count());
        for (hidden, _) in &computed {
            with_numbers(hidden, |numbers| rows.extend_from_slice(numbers))?;
        }
        Ok(rows)
    }

    /// What the rows of a share take from all rows of their texts.
    fn attend(&self, projected: &Tensor, share: &Share) -> candle_core::Result<Tensor> {
        let Shape { heads, hidden, .. } = self.shape;
        let depth = hidden / heads;
        let scale = 1.0 / (depth as f32).sqrt();
        let mut attended = Vec::new();
        for text in &share.texts {
            let rows = intersection(text, &share.rows);
            let parts = |rows: &Range<usize>| {
                let part = projected.narrow(0, rows.start, rows.len())?;
                let part = part.reshape((rows.len(), 3, heads, depth))?;
                part.permute((1, 2, 0, 3))
            };
            let (queries, both) = (parts(&rows)?.get(0)?, parts(text)?);
            let (keys, values) = (both.get(1)?, both.get(2)?);
            let scores = queries.matmul(&keys.t()?)?;
            let softmax = |rows: &mut [f32]| softmax_rows(rows, text.len(), scale);
            scores.inplace_op1(&Rows(softmax))?;
            let mixed = scores.matmul(&values)?;
            attended.push(mixed.transpose(0, 1)?.reshape((rows.len(), hidden))?);
        }
        Tensor::cat(&attended, 0)
    }
}

/// The rows of a share after a layer, and their queries, keys and values for the next one.
type Computed = (Tensor, Option<Tensor>);

/// Rows that one thread computes, from layer to layer.
#[derive(Debug)]
struct Share {
    rows: Range<usize>,
    /// All rows of the texts that they belong to.
    texts: Vec<Range<usize>>,
}

/// The least rows that are worth a thread: the threads wait for each other after each layer.
const SHARE_MIN: usize = 8;

fn shares(texts: &[Sequence<'_>], threads: usize) -> Vec<Share> {
    let mut end = 0;
    let texts = texts.iter().map(|text| {
        let start = end;
        end += text.tokens.len();
        start..end
    });
    let texts = Vec::from_iter(texts);
    let number = match texts.len() {
        1 => threads.min(end / SHARE_MIN).max(1),
        _ => 1,
    };
    let share = |at: usize| Share {
        rows: end * at / number..end * (at + 1) / number,
        texts: texts.clone(),
    };
    (0..number).map(share).collect()
}

fn intersection(one: &Range<usize>, other: &Range<usize>) -> Range<usize> {
    one.start.max(other.start)..one.end.min(other.end)
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
    /// Queries, keys and values of rows.
    fn project(&self, rows: &Tensor) -> candle_core::Result<Tensor> {
        let linear = &self.projections;
        linear.apply(rows, |rows, _| add_to_rows(rows, &linear.bias))
    }

    /// The rows after this layer, of the rows before it and what they attend to.
    fn apply(&self, hidden: &Tensor, attended: &Tensor) -> candle_core::Result<Tensor> {
        let attended = self
            .attended
            .apply_and_add(attended, hidden, &self.attended_norm)?;
        let up = &self.up;
        let wide = up.apply(&attended, |rows, _| gelu_rows(rows, &up.bias))?;
        self.down.apply_and_add(&wide, &attended, &self.down_norm)
    }

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
        let panels = panels(weight, inputs).map_err(|error| OpenError::Malformed {
            path: weights.path().to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self { bias, panels })
    }

    /// The products of rows; `finish` gets some of them at a time, in place, and the number of the first one.
    fn apply(
        &self,
        rows: &Tensor,
        finish: impl Fn(&mut [f32], usize),
    ) -> candle_core::Result<Tensor> {
        let (count, (number, inputs, width)) = (rows.dim(0)?, self.panels.dims3()?);
        let mut products = Vec::with_capacity(count * number * width);
        for start in (0..count).step_by(BLOCK) {
            let length = BLOCK.min(count - start);
            let block = rows.narrow(0, start, length)?.unsqueeze(0)?;
            let block = block.broadcast_as((number, length, inputs))?;
            let begin = products.len();
            with_numbers(&block.matmul(&self.panels)?, |numbers| {
                for row in 0..length {
                    for panel in numbers.chunks_exact(length * width) {
                        products.extend_from_slice(&panel[row * width..][..width]);
                    }
                }
            })?;
            finish(&mut products[begin..], start);
        }
        Tensor::from_vec(products, (count, number * width), &Device::Cpu)
    }

    /// The products, with a residual added, normalised.
    fn apply_and_add(
        &self,
        rows: &Tensor,
        residual: &Tensor,
        norm: &Norm,
    ) -> candle_core::Result<Tensor> {
        with_numbers(residual, |residual| {
            self.apply(rows, |rows, first| {
                let residual = &residual[first * self.bias.len()..][..rows.len()];
                norm.sum_rows(rows, &self.bias, residual);
            })
        })?
    }
}

/// Turns outputs by inputs, as files have it, into panels.
fn panels(weight: Vec<f32>, inputs: usize) -> candle_core::Result<Tensor> {
    let outputs = weight.len() / inputs;
    let width = match outputs.is_multiple_of(PANEL) {
        true => PANEL,
        false => outputs,
    };
    Tensor::from_vec(weight, (outputs / width, width, inputs), &Device::Cpu)?
        .transpose(1, 2)?
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
        let CpuStorage::F32(numbers) = storage else {
            candle_core::bail!("a matrix is not of float32");
        };
        (self.0)(numbers);
        Ok(())
    }
}

/// The numbers of a matrix of this crate, whose rows are in order.
fn with_numbers<T>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> T) -> candle_core::Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(numbers)), Some((start, end))) => {
            Ok(read(&numbers[start..end]))
        }
        _ => candle_core::bail!("a matrix is not of float32, or not in order"),
    }
}

#[cfg(test)]
mod tests;
