//! What changes while the gateway runs: files, revisions, candidates. Whole, or not at all, and told either way.

use std::{sync::Arc, time::SystemTime};

use bartizan_config::snapshot::Snapshot;
use bartizan_model::document::Document;
use bartizan_store::{Revision, Went};
use bartizan_telemetry::ProcessEvent;

use super::{
    super::{
        alerts::Findings,
        management, notices,
        revisions::{self, REVISION},
        rollout::{Order, RolloutWatch},
    },
    Failure, Service,
    first::{KEPT, Source, load, look_at_secrets},
    shown,
};

impl Service {
    /// Reads the files again and puts them into force, whole or not at all.
    pub(super) fn reload(&mut self, asked: bool) {
        let Source::Files { config, digest: in_force, secrets: secrets_in_force, watch, .. } =
            &mut self.source
        else {
            return self.prepare_again(asked);
        };
        let (snapshot, set) = match load(config) {
            Ok(loaded) => loaded,
            Err(Failure::Documents(text) | Failure::Process(text)) => {
                self.refused("");
                tracing::error!("the changed documents are refused; the set in force stays\n{text}");
                return;
            }
        };
        let secrets = look_at_secrets(&snapshot, watch);
        let digest = set.digest.clone();
        if digest == *in_force && secrets == *secrets_in_force && !asked {
            return;
        }
        match self.publish(snapshot, &set.documents) {
            Ok(revision) => {
                if let Source::Files { digest: in_force, secrets: secrets_in_force, set: serving, .. } =
                    &mut self.source
                {
                    (*in_force, *secrets_in_force, *serving) = (digest, secrets, Arc::new(set));
                }
                self.tell_what_serves();
                tracing::info!(%revision, "the changed documents are in force");
            }
            Err(text) => {
                tracing::error!("the changed documents are refused; the set in force stays\n{text}");
            }
        }
    }

    /// Prepares the revision in force once more, for certificates and secrets that have changed on the disk. Revisions
    /// themselves come without being asked for.
    fn prepare_again(&mut self, asked: bool) {
        if let Source::Store { secrets, watch, .. } = &mut self.source {
            let found = look_at_secrets(&self.gate.runtime().live().snapshot, watch);
            if std::mem::replace(secrets, found) == found && !asked {
                return;
            }
        }
        let id = self.gate.runtime().live().snapshot.revision.id.clone();
        let kept = revisions::last_good(&self.data_dir).filter(|kept| kept.digest.short() == *id);
        let Some(kept) = kept else {
            tracing::error!("the revision in force was not kept, so it cannot be prepared again");
            return;
        };
        let published = revisions::load(kept.number, kept.digest, kept.files)
            .inspect_err(|_| self.refused(&id))
            .and_then(|loaded| self.publish(loaded.snapshot, &loaded.documents));
        match published {
            Ok(revision) => tracing::info!(%revision, "the revision was prepared again"),
            Err(text) => {
                tracing::error!("the revision could not be prepared again; what it read before stays\n{text}")
            }
        }
    }

    /// Puts the newest revision into force, whole or not at all, and says how it went.
    pub(super) fn take_up(&mut self) {
        let Source::Store { revisions: watch, .. } = &self.source else { return };
        let Some(revision) = watch.take() else { return };
        let (number, digest) = (revision.row.number, revision.row.digest);
        let tag = revisions::tag(number, digest);
        let loaded = revisions::load(number, digest, revision.files).inspect_err(|_| self.refused(&tag));
        let published = loaded.and_then(|loaded| {
            let files = loaded.files;
            self.publish(loaded.snapshot, &loaded.documents).map(|_| files)
        });
        let Source::Store { revisions: watch, .. } = &self.source else { return };
        match published {
            Ok(files) => {
                watch.tell(number, Went::Live, "");
                revisions::keep(&self.data_dir, number, digest, files, &self.state);
                self.tell_what_serves();
                self.state.notices.clear(REVISION);
                self.state.notices.clear(KEPT);
                tracing::info!(revision = %tag, "the revision is in force");
            }
            Err(text) => {
                watch.tell(number, Went::Failed, &text);
                self.state.notices.set(REVISION, format!("revision {tag} failed; the one before it serves"));
                tracing::error!(revision = %tag, "the revision is refused; the set in force stays\n{text}");
            }
        }
    }

    /// Begins or ends the trial of a candidate, and says how it went.
    pub(super) fn try_out(&mut self) {
        let Some(order) = self.companions.rollout.as_ref().and_then(RolloutWatch::take) else { return };
        let answer = match order {
            Order::End => {
                self.gate.end_trial();
                self.candidate = None;
                Ok(None)
            }
            Order::Try(revision, options) => self.candidate_of(*revision).map(|()| {
                let candidate = self.candidate.as_ref();
                candidate.map(|(_, candidate)| self.gate.begin_trial(candidate, options))
            }),
        };
        if let Some(rollout) = &self.companions.rollout {
            rollout.answer(answer);
        }
    }

    /// Prepares a candidate, unless it is the one that was prepared last.
    fn candidate_of(&mut self, revision: Revision) -> Result<(), String> {
        let (number, digest) = (revision.row.number, revision.row.digest);
        if self.candidate.as_ref().is_some_and(|(known, _)| *known == number) {
            return Ok(());
        }
        let loaded = revisions::load(number, digest, revision.files)?;
        let candidate = self.gate.try_out(loaded.snapshot).map_err(|problems| shown(&problems))?;
        self.candidate = Some((number, candidate));
        Ok(())
    }

    /// Prepares and publishes a snapshot; the error is every reason why it cannot be.
    fn publish(&mut self, snapshot: Arc<Snapshot>, documents: &[Document]) -> Result<Arc<str>, String> {
        if snapshot.access_log != self.log_plan {
            tracing::warn!("the access log's destination changes with the next start only");
        }
        let revision = snapshot.revision.id.clone();
        let channels = notices::channels(&snapshot).inspect_err(|_| self.refused(&revision))?;
        if let Source::Store { secrets, watch, .. } = &mut self.source {
            // Before they are read: a change between is then a change to the next look.
            *secrets = look_at_secrets(&snapshot, watch);
        }
        match self.gate.reload(Arc::clone(&snapshot)) {
            Ok(()) => {
                // When it is in force: an audit of many routes takes longer than all the rest.
                self.findings.set(Findings::of(documents, &snapshot));
                if let Some(sender) = &self.companions.sender {
                    sender.use_channels(channels);
                }
                self.state.metrics.config_applied(&revision, SystemTime::now());
                Ok(revision)
            }
            Err(problems) => {
                self.refused(&revision);
                Err(shown(&problems))
            }
        }
    }

    /// Counts and tells that a change was refused.
    fn refused(&self, revision: &str) {
        self.state.metrics.config_refused();
        self.happened.tell(&ProcessEvent::ReloadFailed { revision: revision.into() });
    }

    fn tell_what_serves(&self) {
        self.state.served.set(management::serving(self.source.set(), &self.gate.addresses()));
    }
}
