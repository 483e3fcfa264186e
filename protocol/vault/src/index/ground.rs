//! Where new files of an index go: the cache, else a private folder, else nowhere.
//!
//! **Invariant**: trouble with a folder never ends a run before memory is at its bound; it only costs the cache.

use super::IndexError;
use super::home::{Effects, Home, Stamp};
use super::run::Run;

/// The folders of one index, best first.
#[derive(Debug, Default)]
pub(crate) struct Ground {
    cache: Option<Home>,
    private: Option<Home>,
    effects: Effects,
    /// The cache took no more files: what is in it counts, but it is not published again.
    cache_failed: bool,
    /// No folder takes files.
    nowhere: bool,
}

impl Ground {
    pub(crate) fn new(cache: Option<Home>, effects: Effects) -> Self {
        Self { cache, effects, ..Self::default() }
    }

    /// Whether files can be written, as far as is known.
    pub(crate) fn is_there(&self) -> bool {
        !self.nowhere
    }

    /// Writes something into the best folder that takes it. `work` is repeated in the next when one fails.
    pub(crate) fn write<T>(
        &mut self,
        mut work: impl FnMut(&mut Home) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        if let Some(cache) = self.cache.as_mut().filter(|_| !self.cache_failed) {
            match work(cache) {
                Err(error @ IndexError::Io { .. }) => {
                    tracing::warn!(%error, "The index cache takes no more; this run goes on with a private one");
                    self.cache_failed = true;
                }
                done => return done,
            }
        }
        let written = self.private().and_then(work);
        if let Err(error) = &written {
            tracing::warn!(%error, "No folder takes a file of the index; it stays in memory up to its bound");
            self.nowhere = true;
        }
        written
    }

    fn private(&mut self) -> Result<&mut Home, IndexError> {
        match &mut self.private {
            Some(home) => Ok(home),
            none => Ok(none.insert(Home::private(self.effects.clone())?)),
        }
    }

    /// The folder that a file lies in.
    pub(crate) fn home_of(&self, stamp: &Stamp) -> Option<&Home> {
        [&self.cache, &self.private].into_iter().flatten().find(|home| home.id == stamp.cache)
    }

    /// Removes a run that was merged.
    pub(crate) fn discard(&self, run: Run) {
        if let Some(home) = self.home_of(run.stamp()) {
            run.discard(home);
        }
    }

    /// The cache, when it may be published.
    pub(crate) fn publishable(&mut self) -> Option<&mut Home> {
        self.cache.as_mut().filter(|_| !self.cache_failed && self.private.is_none())
    }

    pub(crate) fn cache_mut(&mut self) -> Option<&mut Home> {
        self.cache.as_mut()
    }

    /// Something in the cache is damaged: the next process builds it anew.
    pub(crate) fn forget_cache(&self) {
        if let Some(cache) = &self.cache {
            cache.forget();
        }
    }
}
