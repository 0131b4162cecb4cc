use super::*;

#[test]
fn a_long_text_is_shared_out_and_several_are_not() {
    let tokens = [1; 25];
    let rows = |texts: &[Sequence<'_>], threads| {
        let shares = shares(texts, threads).into_iter();
        Vec::from_iter(shares.map(|share| (share.rows.start, share.rows.end)))
    };
    let long = [Sequence::single(&tokens)];
    assert_eq!(rows(&long, 1), [(0, 25)]);
    assert_eq!(rows(&long, 2), [(0, 12), (12, 25)]);
    assert_eq!(rows(&long, 64), [(0, 8), (8, 16), (16, 25)]);
    let short = [Sequence::single(&tokens[..7])];
    assert_eq!(rows(&short, 64), [(0, 7)]);
    assert_eq!(rows(&[long[0], short[0]], 64), [(0, 32)]);
}

/// Numbers between -0.5 and 0.5, other ones at each call.
fn numbers(count: usize, seed: &mut u32) -> Vec<f32> {
    let mut number = || {
        *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u16::try_from(*seed >> 16).unwrap_or_default()) / 65536.0 - 0.5
    };
    (0..count).map(|_| number()).collect()
}

/// A model of two layers whose matrices are divided into panels, or are too narrow for that.
fn model(hidden: usize) -> Bert {
    let seed = &mut 7;
    let mut numbers = |count| numbers(count, seed);
    let norm = |numbers: &mut dyn FnMut(usize) -> Vec<f32>| Norm {
        bias: numbers(hidden),
        epsilon: 1e-12,
        weight: numbers(hidden),
    };
    let linear = |numbers: &mut dyn FnMut(usize) -> Vec<f32>, inputs, outputs| Linear {
        bias: numbers(outputs),
        panels: panels(numbers(inputs * outputs), inputs).unwrap(),
    };
    let layers = (0..2).map(|_| Layer {
        attended: linear(&mut numbers, hidden, hidden),
        attended_norm: norm(&mut numbers),
        down: linear(&mut numbers, 2 * hidden, hidden),
        down_norm: norm(&mut numbers),
        projections: linear(&mut numbers, hidden, 3 * hidden),
        up: linear(&mut numbers, hidden, 2 * hidden),
    });
    let layers = layers.collect();
    Bert {
        embeddings: Embeddings {
            norm: norm(&mut numbers),
            positions: numbers(200 * hidden),
            second: numbers(hidden),
            words: numbers(10 * hidden),
        },
        layers,
        shape: Shape {
            heads: 4,
            hidden,
            intermediate: 2 * hidden,
            layers: 2,
            norm_epsilon: 1e-12,
            positions: 200,
            types: 2,
            vocabulary: 10,
        },
    }
}

#[test]
fn a_text_has_the_same_rows_in_any_company_and_on_any_number_of_threads() {
    for hidden in [12, 64] {
        let model = model(hidden);
        let tokens: Vec<u32> = (0..150).map(|at| at % 10).collect();
        // More rows than are multiplied at a time, and the second text of a pair.
        let text = Sequence {
            tokens: &tokens,
            second: 100,
        };
        let alone = model.encode(&[text], 1).unwrap();
        assert!(alone.iter().all(|x| x.is_finite()));
        let close = |rows: &[f32]| {
            let pairs = rows.iter().zip(&alone);
            rows.len() == alone.len() && pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-4)
        };
        for threads in [2, 3, 64] {
            assert!(close(&model.encode(&[text], threads).unwrap()), "{threads}");
        }
        let other = Sequence::single(&tokens[..5]);
        let both = model.encode(&[other, text], 8).unwrap();
        assert!(close(&both[5 * hidden..]));
    }
}
