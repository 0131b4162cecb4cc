//! Finds the directory of a model by its name.

use std::fs;
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

/// A model was not found.
#[derive(Debug, Error)]
#[error("there is no model {name:?}{}{}", places(.looked), advice(.models_dir))]
#[non_exhaustive]
pub struct FindError {
    /// The directories that were tried, in order.
    pub looked: Vec<PathBuf>,
    /// The directory of named models, if given.
    pub models_dir: Option<PathBuf>,
    /// The requested path or name.
    pub name: String,
}

fn places(looked: &[PathBuf]) -> String {
    let shown: Vec<String> = looked
        .iter()
        .map(|place| place.display().to_string())
        .collect();
    match shown.as_slice() {
        [] => String::new(),
        shown => format!("; looked for it in {}", shown.join(", ")),
    }
}

fn advice(models_dir: &Option<PathBuf>) -> String {
    let first = match models_dir {
        Some(_) => "",
        None => " (no directory of models is configured)",
    };
    format!(
        "{first}. Start the worker with --models-dir, the directory that holds its models, and put one there: a sentence-transformers \
         model of type bert with its config.json, modules.json, 1_Pooling/config.json, \
         tokenizer.json and model.safetensors, such as sentence-transformers/all-MiniLM-L6-v2"
    )
}

/// See [`Model::find`](crate::Model::find).
pub(crate) fn find(name_or_path: &str, models_dir: Option<&Path>) -> Result<PathBuf, FindError> {
    let mut looked = Vec::new();
    for place in places_of(name_or_path, models_dir) {
        if place.is_dir() {
            return Ok(newest_snapshot(&place).unwrap_or(place));
        }
        looked.push(place);
    }
    Err(FindError {
        looked,
        models_dir: models_dir.map(Path::to_owned),
        name: name_or_path.to_owned(),
    })
}

fn places_of(name_or_path: &str, models_dir: Option<&Path>) -> Vec<PathBuf> {
    let path = Path::new(name_or_path);
    let mut places = Vec::new();
    let is_name = !name_or_path.is_empty()
        && path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
    if let Some(models_dir) = models_dir
        && is_name
    {
        places.push(models_dir.join(path));
        places.extend(path.file_name().map(|last| models_dir.join(last)));
        let cached = format!("models--{}", name_or_path.replace('/', "--"));
        places.push(models_dir.join(cached));
        places.dedup();
    }
    // Whoever may create a vectorizer names models. So a path counts only below the directory that
    // the operator has named.
    if let Some(models_dir) = models_dir
        && path.is_absolute()
        && is_below(path, models_dir)
    {
        places.push(path.to_owned());
    }
    places
}

fn is_below(path: &Path, directory: &Path) -> bool {
    match (path.canonicalize(), directory.canonicalize()) {
        (Ok(path), Ok(directory)) => path.starts_with(directory),
        _ => false,
    }
}

/// The snapshot that a directory of the Hugging Face cache points to, if it is one.
fn newest_snapshot(place: &Path) -> Option<PathBuf> {
    let snapshots = place.join("snapshots");
    if let Ok(revision) = fs::read_to_string(place.join("refs/main")) {
        let named = snapshots.join(revision.trim());
        if named.is_dir() {
            return Some(named);
        }
    }
    let found = fs::read_dir(&snapshots).ok()?.filter_map(Result::ok);
    found
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .max_by_key(|path| path.metadata().and_then(|about| about.modified()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(there: &[&str], name: &str, expect: Option<&str>) {
        let models = tempfile::tempdir().unwrap();
        for directory in there {
            fs::create_dir_all(models.path().join(directory)).unwrap();
        }
        let found = find(name, Some(models.path())).ok();
        assert_eq!(
            found,
            expect.map(|place| models.path().join(place)),
            "{name}"
        );
    }

    #[test]
    fn a_name_is_found_in_each_of_the_layouts() {
        let name = "org/model";
        check(&["org/model"], name, Some("org/model"));
        check(&["model"], name, Some("model"));
        check(&["org/model", "model"], name, Some("org/model"));
        let cached = "models--org--model/snapshots/abc";
        check(&[cached], name, Some(cached));
        check(
            &["models--model/snapshots/abc"],
            "model",
            Some("models--model/snapshots/abc"),
        );
        check(&["other"], name, None);
        check(&["other"], "", None);
    }

    #[test]
    fn the_cache_says_which_snapshot_is_the_main_one() {
        let models = tempfile::tempdir().unwrap();
        let cached = models.path().join("models--org--model");
        for revision in ["abc", "xyz"] {
            fs::create_dir_all(cached.join("snapshots").join(revision)).unwrap();
        }
        fs::create_dir(cached.join("refs")).unwrap();
        fs::write(cached.join("refs/main"), "abc\n").unwrap();
        let found = find("org/model", Some(models.path())).unwrap();
        assert_eq!(found, cached.join("snapshots/abc"));
    }

    #[test]
    fn a_path_counts_only_below_the_directory_of_models() {
        let models = tempfile::tempdir().unwrap();
        let model = models.path().join("a/b");
        fs::create_dir_all(&model).unwrap();
        let path = model.to_str().unwrap();
        assert_eq!(find(path, Some(models.path())).unwrap(), model);
        let around = format!("{}/a/../a/b", models.path().display());
        assert!(find(&around, Some(models.path())).is_ok());
        assert!(find(path, Some(&models.path().join("a/b/c"))).is_err());
        assert!(find(path, Some(Path::new("/models"))).is_err());
        assert!(find(path, None).is_err());
        let out = format!("{}/a/../..", models.path().display());
        assert!(find(&out, Some(models.path())).is_err());
    }

    #[test]
    fn a_name_does_not_lead_out_of_the_directory_of_models() {
        let models = tempfile::tempdir().unwrap();
        fs::create_dir_all(models.path().join("outside")).unwrap();
        let inner = models.path().join("inner");
        fs::create_dir(&inner).unwrap();
        assert!(find("../outside", Some(&inner)).is_err());
    }

    #[test]
    fn a_missing_model_says_where_it_was_looked_for() {
        let error = find("org/model", Some(Path::new("/models"))).unwrap_err();
        let text = error.to_string();
        let expect = "there is no model \"org/model\"; looked for it in /models/org/model, \
            /models/model, /models/models--org--model. Start the worker with --models-dir";
        assert!(text.starts_with(expect), "{text}");
        let text = find("org/model", None).unwrap_err().to_string();
        let expect = "there is no model \"org/model\" (no directory of models is configured).";
        assert!(text.starts_with(expect), "{text}");
    }
}
