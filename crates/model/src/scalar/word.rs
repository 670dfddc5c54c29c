//! Words of verdicts as documents write them.

use serde::{Serialize, Serializer};

use crate::{
    node::Node,
    problem::Problems,
    read::{Path, Read, word},
    reason::{Reason, Stage},
    shape::{Shape, Word},
    verdict::{Mode, OnFault},
};

choice! {
    /// Whether a policy bites.
    impl Read for Mode {
        /// The policy's decision is carried out.
        Enforce = Mode::Enforce.as_str(),
        /// The policy judges and counts; the record says what it would have done; the caller notices nothing.
        Shadow = Mode::Shadow.as_str(),
        /// The policy is not looked at.
        Off = Mode::Off.as_str(),
    }
}

choice! {
    /// What happens when a judge cannot decide.
    impl Read for OnFault {
        /// Refuse with `JudgeUnavailable`.
        Deny = OnFault::Deny.as_str(),
        /// Let the request pass, count it and list it as an exposure.
        Allow = OnFault::Allow.as_str(),
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for OnFault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Read for Reason {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        let words: Vec<_> = Reason::ALL.iter().map(|reason| (reason.as_str(), *reason)).collect();
        word(node, &words, at, problems)
    }

    fn shape() -> Shape {
        Shape::Choice {
            name: "Reason",
            doc: "Why a request is refused: the `code` that the caller sees.".to_owned(),
            words: Reason::ALL.iter().map(|reason| Word::new(reason.as_str(), reason.meaning())).collect(),
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Read for Stage {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        word(node, &Stage::ALL.map(|stage| (stage.as_str(), stage)), at, problems)
    }

    fn shape() -> Shape {
        Shape::Choice {
            name: "Stage",
            doc: "A stage of the pipeline.".to_owned(),
            words: Stage::ALL.iter().map(|stage| Word::new(stage.as_str(), "")).collect(),
        }
    }
}

impl Serialize for Stage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
