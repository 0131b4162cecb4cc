//! A tiny model with made-up weights, whole and damaged in every way that people meet.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::fs;
use std::path::Path;

use embed_local::Model;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What `tests/tiny.py` made.
fn tiny() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tiny"))
}

/// A copy of the tiny model, to be spoilt.
fn copy() -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("1_Pooling")).unwrap();
    for file in [
        "1_Pooling/config.json",
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
    ] {
        fs::copy(tiny().join(file), copy.path().join(file)).unwrap();
    }
    copy
}

fn edit(directory: &Path, file: &str, change: impl Fn(&mut Value)) {
    let path = directory.join(file);
    let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

#[track_caller]
fn agrees(model: &Model, wanted: &str) {
    let cases = fs::read(tiny().with_extension("json")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&cases).unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let embedded = model.embed(&[text]).unwrap();
        let tokens = model.count_tokens(text).unwrap();
        assert_eq!(
            tokens.min(model.max_tokens()),
            case["tokens"].as_u64().unwrap() as usize
        );
        assert_eq!(
            embedded.truncated,
            usize::from(tokens > model.max_tokens()),
            "{text}"
        );
        let expect = case[wanted].as_array().unwrap();
        assert_eq!(embedded.vectors[0].len(), expect.len());
        for (x, expect) in embedded.vectors[0].iter().zip(expect) {
            let expect = expect.as_f64().unwrap();
            assert!(
                (f64::from(*x) - expect).abs() < 1e-5,
                "{text}: {x}, not {expect}"
            );
        }
    }
}

#[test]
fn the_first_token_or_the_mean_of_all_makes_the_vector() {
    let cls = Model::open(tiny()).unwrap();
    assert_eq!((cls.dimensions(), cls.max_tokens()), (8, 12));
    assert_eq!(cls.query_prompt(), "flow . ");
    agrees(&cls, "cls");

    let directory = copy();
    edit(directory.path(), "1_Pooling/config.json", |config| {
        *config = json!({"word_embedding_dimension": 8, "pooling_mode_mean_tokens": true});
    });
    agrees(&Model::open(directory.path()).unwrap(), "mean");
}

#[test]
fn a_module_for_it_makes_vectors_of_length_one() {
    let directory = copy();
    edit(directory.path(), "modules.json", |modules| {
        let module = json!({"idx": 2, "name": "2", "path": "2_Normalize",
            "type": "sentence_transformers.models.Normalize"});
        modules.as_array_mut().unwrap().push(module);
    });
    let vector = Model::open(directory.path())
        .unwrap()
        .embed(&["red"])
        .unwrap();
    let length: f32 = vector.vectors[0].iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-6, "{length}");
}

#[track_caller]
fn refused(spoil: impl Fn(&Path), says: &[&str]) {
    let directory = copy();
    spoil(directory.path());
    let error = Model::open(directory.path()).unwrap_err().to_string();
    let named = directory.path().to_str().unwrap();
    assert!(error.contains(named), "where: {error}");
    for text in says {
        assert!(error.contains(text), "{text:?} in: {error}");
    }
}

#[test]
fn what_is_not_supported_is_named_with_what_is() {
    let works = "What works: sentence-transformers models of type bert";
    let config = |key: &'static str, value: Value| {
        move |directory: &Path| {
            edit(directory, "config.json", |config| {
                config[key] = value.clone()
            });
        }
    };
    refused(
        config("model_type", "nomic_bert".into()),
        &["of type nomic_bert", works],
    );
    refused(
        config("hidden_act", "relu".into()),
        &["its activation is relu", works],
    );
    refused(
        config("position_embedding_type", "relative_key".into()),
        &["its positions are relative_key", works],
    );
    refused(
        config("is_decoder", true.into()),
        &["it is a decoder", works],
    );
    refused(
        |directory| {
            edit(directory, "1_Pooling/config.json", |pooling| {
                *pooling = json!({"pooling_mode_max_tokens": true});
            });
        },
        &["its pooling is max_tokens", works],
    );
    refused(
        |directory| {
            edit(directory, "modules.json", |modules| {
                modules[1]["type"] = "sentence_transformers.models.Dense".into();
            });
        },
        &["its modules are Transformer, Dense", works],
    );
}

#[test]
fn a_damaged_model_says_which_file_is_at_fault() {
    for file in [
        "config.json",
        "modules.json",
        "tokenizer.json",
        "1_Pooling/config.json",
    ] {
        refused(
            |directory| fs::remove_file(directory.join(file)).unwrap(),
            &["has no", file],
        );
        refused(
            |directory| fs::write(directory.join(file), "{").unwrap(),
            &[file, "cannot be used"],
        );
    }
    let weights = "model.safetensors";
    refused(
        |directory| fs::remove_file(directory.join(weights)).unwrap(),
        &["has no", weights],
    );
    refused(
        |directory| {
            let path = directory.join(weights);
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 100]).unwrap();
        },
        &[weights, "the file ends before"],
    );
    refused(
        |directory| fs::write(directory.join(weights), [255; 64]).unwrap(),
        &[weights, "it is not a safetensors file"],
    );
    refused(
        |directory| {
            edit(directory, "config.json", |config| {
                config["num_hidden_layers"] = 3.into()
            })
        },
        &[weights, "it has no tensor encoder.layer.2"],
    );
    refused(
        |directory| {
            edit(directory, "config.json", |config| {
                config["vocab_size"] = 11.into()
            })
        },
        &[weights, "has the shape"],
    );
    refused(
        |directory| {
            edit(directory, "config.json", |config| {
                config["num_attention_heads"] = 3.into()
            })
        },
        &["config.json", "sizes that no model has"],
    );
    refused(
        |directory| {
            edit(directory, "modules.json", |modules| {
                modules[1]["path"] = "../outside".into()
            });
        },
        &["modules.json", "is not in the model's directory"],
    );
    let error = Model::open(Path::new("/nowhere")).unwrap_err().to_string();
    assert_eq!(error, "there is no model in /nowhere: no such directory");
}
