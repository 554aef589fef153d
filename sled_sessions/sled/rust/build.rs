//! Writes each docstring of `_native.pyi` to a file for `doc!`, so that `help()` shows it at run time.

use std::{env, error::Error, fs, path::Path};

const STUB: &str = "../_native.pyi";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={STUB}");
    let folder = env::var("OUT_DIR")?;
    for (name, text) in docstrings(&fs::read_to_string(STUB)?) {
        fs::write(Path::new(&folder).join(name), text)?;
    }
    Ok(())
}

/// Each docstring with the name it belongs to, such as `Tree.insert`.
fn docstrings(stub: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let (mut class, mut name) = (String::new(), String::new());
    let mut lines = stub.lines();
    while let Some(line) = lines.next() {
        if let Some(word) = word_after("class ", line) {
            class = word;
            name.clone_from(&class);
        } else if let Some(word) = word_after("def ", line) {
            name = word;
        } else if let Some(word) = word_after("    def ", line) {
            name = format!("{class}.{word}");
        } else if let Some((indent, text)) = line.split_once("\"\"\"") {
            let mut text = text.to_owned();
            while !text.ends_with("\"\"\"") {
                let Some(line) = lines.next() else { break };
                text += "\n";
                text += line.get(indent.len()..).unwrap_or_default();
            }
            found.push((name.clone(), text.trim_end_matches('"').trim_end().to_owned()));
        }
    }
    found
}

fn word_after(start: &str, line: &str) -> Option<String> {
    let rest = line.strip_prefix(start)?;
    Some(rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect())
}
