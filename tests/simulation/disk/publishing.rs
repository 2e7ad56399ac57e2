//! From a part that is synced to a download that stays, and the record that says so.

use towline::names::RequestId;
use towline::transfer::Transfer;

use super::{Disk, Trouble, text_of};
use crate::dice::Dice;

impl Disk {
    /// The first step: the part has the download's name.
    pub fn rename(&mut self, id: RequestId, filename: &str, dice: &mut Dice) -> Result<(), Trouble> {
        let done = self.work(dice).and_then(|()| match self.downloads.contains_key(filename) {
            true => Err(Trouble::Broken),
            false => Ok(()),
        });
        let part = self.folders.get_mut(&id).and_then(|folder| folder.now.part.take());
        match done {
            Ok(()) => {
                self.downloads.insert(filename.to_owned(), part.ok_or(Trouble::Broken)?);
                self.renamed.push((id, filename.to_owned()));
                Ok(())
            }
            Err(Trouble::Crashed) => {
                if let Some(folder) = self.folders.get_mut(&id) {
                    folder.now.part = part;
                }
                Err(Trouble::Crashed)
            }
            Err(trouble) => Err(trouble), // the part is discarded
        }
    }

    /// The second: the last record is written beside the one that it replaces later, or synced. Whether that went well:
    /// its save writes one that is not.
    pub fn take_last(&mut self, dice: &mut Dice) -> Result<bool, Trouble> {
        match self.work(dice) {
            Err(Trouble::Crashed) => Err(Trouble::Crashed),
            done => Ok(done.is_ok()),
        }
    }

    /// The third: both stay there, in whichever order.
    pub fn sync_both(&mut self, last: &Transfer, is_written: bool, dice: &mut Dice) -> Result<bool, Trouble> {
        let is_last_first = dice.one_in(2);
        let mut is_ready = is_written && is_last_first && self.take_last(dice)?;
        self.sync_downloads(&last.filename, dice)?;
        is_ready |= is_written && !is_last_first && self.take_last(dice)?;
        if let Some(folder) = self.folders.get_mut(&last.request_id).filter(|_| is_ready) {
            folder.ready = Some(text_of(last));
        }
        Ok(is_ready)
    }

    fn sync_downloads(&mut self, filename: &str, dice: &mut Dice) -> Result<(), Trouble> {
        let done = self.work(dice);
        match done {
            Ok(()) => {
                for (id, _) in self.renamed.drain(..) {
                    if let Some(folder) = self.folders.get_mut(&id) {
                        folder.synced.part = None;
                    }
                }
            }
            Err(Trouble::Crashed) => {}
            Err(_) => {
                self.downloads.remove(filename);
                self.renamed.retain(|(_, name)| name != filename);
            }
        }
        done
    }
}
