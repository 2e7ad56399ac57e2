//! What the worlds have seen, so that the simulation can't silently stop exercising it.

use std::fmt;

macro_rules! seen {
    ($($name:ident,)*) => {
        /// Something that must happen in some world.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Seen { $($name,)* }

        impl Seen {
            pub const ALL: &'static [Seen] = &[$(Seen::$name,)*];
        }
    };
}

seen! {
    Accepted,
    NotAccepted,
    Completed,
    CompletedByV1,
    CompletedLarge,
    CompletedAfterInterruption,
    CompletedAfterRestart,
    CompletedWhileFileGrew,
    QueuedForOffline,
    Expired,
    Failed,
    Cancelled,
    CancelledInTransfer,
    CancelledTooLate,
    KeptOfPart,
    KeptOfOlder,
    UnchangedPull,
    KeptIsGone,
    WithdrawnAnswered,
    FileChangedRetried,
    FileChangedFailed,
    MismatchRetried,
    MismatchMended,
    MismatchBegunAnew,
    MismatchFailed,
    StalledUnanswered,
    StalledInTransfer,
    StalledRetried,
    NoProgressFailed,
    PartGivenUp,
    Forgotten,
    DiskFull,
    WriteFailed,
    SaveFailed,
    PublishFailed,
    LastIsReady,
    LastIsNotReady,
    NoRoom,
    Killed,
    PowerCut,
    Stopped,
    CrashedInDiskWork,
    RestartedWhileVerifying,
    RecoveredAsCompleted,
    PublishUndoneByPowerCut,
    ForgottenCameBack,
    RecordSetAside,
    PartRestored,
    LineCut,
    HalfOpenLineReplaced,
    ConnectionRefused,
    AgentRestarted,
    TakenForV1,
    WriterWasFull,
    ReadAgain,
    FileMissing,
    Progress,
    DownloadTampered,
    PayloadCorrupted,
    PartCorrupted,
    CameCompressed,
    BadFrame,
}

/// How often each was seen.
#[derive(Clone)]
pub struct Coverage([u64; Seen::ALL.len()]);

impl Coverage {
    pub fn new() -> Coverage {
        Coverage([0; Seen::ALL.len()])
    }

    pub fn note(&mut self, what: Seen) {
        self.0[what as usize] += 1;
    }

    pub fn add(&mut self, other: &Coverage) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// What never happened.
    pub fn missing(&self) -> Vec<Seen> {
        let can_be = |what: &Seen| {
            towline::compression::IS_BUILT_IN || !matches!(what, Seen::CameCompressed | Seen::BadFrame)
        };
        Seen::ALL.iter().copied().filter(can_be).filter(|what| self.0[*what as usize] == 0).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Seen::ALL.iter().try_for_each(|what| writeln!(f, "{:>9} {what:?}", self.0[*what as usize]))
    }
}
