//! One of several words, and the one that was probably meant.

use super::{Path, Read, text};
use crate::{
    node::Node,
    problem::{Code, Problems, shown},
    shape::one_of,
};

/// Reads one of several words; what [`choice!`](crate::choice) uses.
pub fn word<T: Read + Copy>(
    node: &Node,
    words: &[(&str, T)],
    at: &Path,
    problems: &mut Problems,
) -> Option<T> {
    let text = text::<T>(node, at, problems)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Some(*value);
    }
    let known = words.iter().map(|(word, _)| *word);
    let message = format!("{} is not {}", shown(text), one_of(known.clone()));
    let problem = at.problem(Code::BadWord, node.at, message);
    problems.push(match nearest(text, known) {
        Some(word) => problem.hint(format!("did you mean `{word}`?")),
        None => problem,
    });
    None
}

/// The known word that `text` was probably meant to be: equal but for case and separators, or a few edits away.
pub fn nearest<'a>(text: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let plain = plain(text);
    if plain.is_empty() || plain.len() > 64 {
        return None;
    }
    let allowed = plain.len().div_ceil(3).min(3);
    known
        .map(|word| (distance(&plain, &self::plain(word)), word))
        .filter(|(distance, word)| *distance <= allowed && *distance < word.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

fn plain(text: &str) -> Vec<char> {
    text.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).take(65).collect()
}

/// The number of insertions, deletions, substitutions and swaps of neighbours between two words.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let mut least =
                (cell(&last, j) + usize::from(x != y)).min(cell(&last, j + 1) + 1).min(cell(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                least = least.min(cell(&before, j - 1) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(usize::MAX)
}
