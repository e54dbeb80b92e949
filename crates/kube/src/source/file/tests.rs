//! Files, directories and standard input.

use std::fs;
use std::path::Path;

use miette::Diagnostic;

use super::{FileError, Source, read_paths};

fn read(paths: &[&Path], standard_input: &str) -> Result<Vec<Source>, FileError> {
    read_paths(paths, &mut standard_input.as_bytes())
}

/// The error's message, with `directory` cut off.
fn error(directory: &Path, paths: &[&Path]) -> String {
    let error = read(paths, " \n").expect_err("an error");
    assert!(error.help().is_some());
    error.to_string().replace(&format!("{}/", directory.display()), "")
}

#[test]
fn a_directory_means_its_yaml_files_sorted_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["b.yml", "a.yaml", "notes.txt", "c.json"] {
        fs::write(directory.path().join(name), name).expect("a file");
    }
    fs::create_dir(directory.path().join("sub.yaml")).expect("a directory");
    let sources =
        read(&[directory.path(), &directory.path().join("c.json"), Path::new("-")], "\u{feff}in: 1")
            .expect("sources");
    let texts: Vec<&str> = sources.iter().map(|source| source.text.as_ref()).collect();
    assert_eq!(texts, ["a.yaml", "b.yml", "c.json", "in: 1"]);
    assert_eq!(sources[3].name.as_ref(), "-");
}

#[test]
fn what_cannot_be_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    fs::write(path("latin.yaml"), b"a: 1\nb: \xe9\n").expect("a file");
    fs::write(path("empty.yaml"), " \n\n").expect("a file");
    fs::create_dir(path("none")).expect("a directory");
    let error = |paths: &[&Path]| error(directory.path(), paths);
    assert_eq!(error(&[&path("no.yaml")]), "no.yaml: no such file or directory");
    assert_eq!(error(&[&path("latin.yaml")]), "latin.yaml:2: expected UTF-8 text, got the byte 0xe9");
    assert_eq!(error(&[&path("empty.yaml")]), "empty.yaml: expected YAML or JSON, got an empty file");
    assert_eq!(error(&[&path("none")]), "none: the directory has no file that ends in .yaml or .yml");
    assert_eq!(error(&[Path::new("-")]), "-: expected YAML or JSON, got an empty file");
    let twice = read(&[Path::new("-"), Path::new("-")], "a: 1").expect_err("an error");
    assert!(matches!(twice, FileError::StandardInputTwice));
}
