//! Every bound on what a peer, a caller or a file can make grow, with its reason.
//!
//! Sizes are bytes. What the operator may set lives in [`crate::settings`]; what stands here is fixed.

use std::time::Duration;

// Names

/// Client ids and share names: they stand in file names, lists and logs.
pub const MAX_LABEL_BYTES: usize = 64;
/// The name of a congestion control; Linux takes 15 bytes (TCP_CA_NAME_MAX, with its NUL).
pub const MAX_CONGESTION_CONTROL_BYTES: usize = 15;
/// A file key; the longest path that Linux takes.
pub const MAX_FILE_KEY_BYTES: usize = 4096;
/// A file name, on every file system in use.
pub const MAX_FILE_NAME_BYTES: usize = 255;
/// Text from outside in a log line or an error: enough to recognise it, too little to flood a log.
pub const MAX_PRINTED_CHARS: usize = 200;
/// An `Idempotency-Key`: it is kept with the transfer; a UUID has 36.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;

// The wire

/// Payload of a chunk: a v1 installation may have set `CHUNK_SIZE` this high; it is held in memory several times.
pub const MAX_CHUNK_BYTES: usize = 4 << 20;
/// Payload of a chunk, unless `CHUNK_SIZE` is set (v1's default). Larger gains a few percent, and costs memory while it runs, and delay: what is posted waits behind a chunk.
pub const CHUNK_BYTES: usize = 64 << 10;
/// Smaller files are not compressed unless that is wished for always: a connection sends so much before it waits for the other side (ten packets, RFC 6928), and a pull of a small file is over before compressing it has gained anything.
pub const MIN_COMPRESSED_FILE: u64 = 16 << 10;
/// The smallest chunk that may be asked for; below it the header outweighs the payload.
pub const MIN_CHUNK_BYTES: usize = 1 << 10;
/// Header of a chunk: ours has 150 bytes, a v1 client's may be padded.
pub const MAX_HEADER_BYTES: usize = 4 << 10;
/// A text message: the largest is `register_meta` with its labels and shares, or a listing.
pub const MAX_TEXT_BYTES: usize = 256 << 10;
/// A binary message from a client: the chunk size that it was told, and not less than this, because a v1 client may have a larger `CHUNK_SIZE` of its own.
pub const MIN_MESSAGE_BYTES: usize = 1 << 20;
/// The labels of a client, as JSON: they are kept for every client and shown in lists.
pub const MAX_META_BYTES: usize = 4 << 10;
/// Shares that an agent may name.
pub const MAX_SHARES: usize = 64;
/// Text of an agent's error that is kept and shown.
pub const MAX_ERROR_CHARS: usize = 300;
/// Ended transfers whose late messages are dropped in silence, a line: more than can still be in flight.
pub const MAX_ENDED_IDS: usize = 64;
/// Frames that wait for a peer to read, a line: a peer that lets this much pile up is not reading. An agent's sixteen transfers may each be owed two answers of hashes.
pub const MAX_OUTBOX_BYTES: usize = 1 << 20;
/// Transfers that an agent runs at once, whatever a server asks.
pub const MAX_AGENT_TRANSFERS: usize = 16;
/// Messages of a server that an agent takes in a second: five hundred small pulls need some 1,500, and no sensible server asks for more. Each may cost an answer.
pub const MAX_SERVER_MESSAGES_A_SECOND: u32 = 5000;
/// Folders that an agent lists at once: one for each of a few operators, and one that has answered and not ended yet.
pub const MAX_LISTINGS: usize = 4;
/// Entries of a folder that an agent lists: it must fit a text message.
pub const MAX_LISTED_ENTRIES: usize = 1000;
/// Those entries as JSON: names may be long, and escaped sixfold; the rest of [`MAX_TEXT_BYTES`] is the message around them.
pub const MAX_LISTED_BYTES: usize = 192 << 10;
/// Entries of a folder that an agent looks at to find the first by name: about a second's work, well within [`LISTING_TIME`].
pub const MAX_SCANNED_ENTRIES: usize = 500_000;
/// Chunks between a session and its writer: enough that neither waits for the other's every step. A transfer holds these, one that is read and one that is written.
pub const WRITER_QUEUE_CHUNKS: usize = 8;
/// What the memory of chunks is cut from. More than 32 MiB, up to which glibc may come to take a block out of what it keeps (mallopt(3),
/// M_MMAP_THRESHOLD); other mallocs map less than that by itself. It is address space: what has not been in use is not resident.
pub const SLAB_BYTES: usize = 33 << 20;
/// A message of fewer bytes has memory of its own: what a line or a file of a few KiB takes malloc finds among what it has.
pub const MIN_CHUNK_MEMORY: usize = 16 << 10;

// What the server already has (WIRE.md says how the sizes were chosen)

/// A block, the coarse unit of comparing, in bytes. Fixed by the wire.
pub const BLOCK_BYTES: usize = 64 << 10;
/// A page, the fine unit of comparing, in bytes: that of the databases in use. Fixed by the wire.
pub const PAGE_BYTES: usize = 4 << 10;
/// Blocks that are asked about, or covered by one `same`, at once: what either side then holds in hashes is at most 34 KiB, and a window of 16 MiB costs at most one round trip.
pub const WINDOW_BLOCKS: usize = 256;

// Time

/// From the first byte to the end of a request's head, and of its body: a slow line needs a second.
pub const HEAD_TIME: Duration = Duration::from_secs(10);
/// A caller that does not take its answer: no byte for this long ends it.
pub const ANSWER_TIME: Duration = Duration::from_secs(60);
/// Connecting and the handshake, on the agent's side.
pub const DIAL_TIME: Duration = Duration::from_secs(20);
/// How long either side waits for the other's word for v2 before it speaks v1.
pub const HELLO_TIME: Duration = Duration::from_secs(2);
/// How long two machines with one client id are shown as such after the last sign: many times the longest pause of one that is refused.
pub const CONTESTED_TIME: Duration = Duration::from_secs(15 * 60);
/// How long the one that is refused is first told to stay away, in seconds; twice as long each time, up to [`BACKOFF_MOST`].
pub const CONTESTED_RETRY_SECONDS: u64 = 10;
/// How long a connected client has to answer when another one comes with its id.
pub const PROBE_TIME: Duration = Duration::from_secs(5);
/// After our Close, how long the peer's may take.
pub const CLOSE_TIME: Duration = Duration::from_secs(2);
/// One beat, until the server's `hello` says otherwise.
pub const DEFAULT_BEAT: Duration = Duration::from_secs(15);
/// How often a v1 server hears an agent's heartbeat.
pub const V1_HEARTBEAT: Duration = Duration::from_secs(30);
/// How often an agent says that it is at work while it sends nothing of a file: well within any sensible `STALL_SECONDS`.
pub const SIGN_PAUSE: Duration = Duration::from_secs(1);
/// Silent beats after which a peer is dead.
pub const SILENT_BEATS: u32 = 3;
/// The longest `?wait=`, in seconds: proxies on the way give up about then.
pub const MAX_WAIT_SECONDS: u64 = 120;
/// When a server stops, its clients come back after this long, or up to twice that, in milliseconds: a restart takes about as long.
pub const COME_BACK_MS: u64 = 2000;
/// How long an agent may take to list a folder.
pub const LISTING_TIME: Duration = Duration::from_secs(10);
/// How long an interrupted transfer waits for its client.
pub const INTERRUPTED_TIME: Duration = Duration::from_secs(24 * 3600);
/// How long an `Idempotency-Key` stands for its request: a cron job that tries again until it succeeds gives up within a day, and one that runs daily may use its date.
pub const IDEMPOTENCY_TIME: Duration = Duration::from_secs(24 * 3600);
/// The longest `queueFor`: a month.
pub const MAX_QUEUE_TIME: Duration = Duration::from_secs(31 * 24 * 3600);

// The disk

/// A transfer's record on the disk: its longest texts are a file key, a path and a reason, each escaped.
pub const MAX_RECORD_BYTES: u64 = 256 << 10;
/// What gathers of a file before the kernel is told to begin writing it to the disk: large pieces, so that it costs few calls, and of
/// 100 MiB most is there when the last byte comes.
pub const WRITE_BACK_BYTES: u64 = 8 << 20;
/// A file of so many bytes is long: its threads step back behind those of short ones.
pub const LONG_FILE_BYTES: u64 = 1 << 20;
/// How far (nice(2)): a third of the share that others have, when there is not enough for all.
pub const LONG_WORK_NICE: i32 = 5;
/// What may have come of a file that keeps coming without the hub knowing: hundreds of looks a second still show progress on the fastest line.
pub const UNTOLD_BYTES: u64 = 1 << 20;
/// Between two tries to save records that the disk did not take: whoever makes room looks within seconds whether it helped.
pub const SAVE_AGAIN_TIME: Duration = Duration::from_secs(5);
/// Records that are saved again before the timekeeper looks what else is due: each may take a slow disk a second.
pub const SAVES_AT_ONCE: usize = 16;
/// Records that are written in one go: each has two descriptors meanwhile, and whoever comes next waits for all of them.
pub const SAVES_TOGETHER: usize = 64;
/// A part that is synced together with its record, in bytes: it takes the disk no longer than the record does.
pub const SMALL_PART_BYTES: u64 = 1 << 20;
/// Files that are to be synced at the same moment, from which on the whole file system is, for all of them: by then that costs less than their own syncs.
pub const SYNCS_TOGETHER: usize = 4;
/// Threads that read records when the server starts: they mostly wait, and a hundred thousand are to be there in two seconds.
pub const RECOVERY_THREADS: usize = 4;
/// Records that each of them reads at least: fewer are read before it has begun.
pub const RECOVERED_AT_LEAST: usize = 500;
/// A sync of the whole file system that takes longer than this writes what is not ours; a small pull would wait for it several times.
pub const SLOW_SYNC: Duration = Duration::from_millis(50);
/// How long files are synced by themselves then: whoever writes so much may do so for a while.
pub const SYNC_ALONE_TIME: Duration = Duration::from_secs(30);
/// Between two looks for downloads that are older than `KEEP_DOWNLOADS_DAYS`: an hour counts for little among days.
pub const RETENTION_PAUSE: Duration = Duration::from_secs(3600);

// The audit log

/// A line: the longest has a file key, every character of it escaped. Whoever verifies holds one line.
pub const MAX_AUDIT_LINE_BYTES: usize = 64 << 10;
/// The end of a log's file that is looked at when it is opened: the last line, and what a power cut may have left behind it.
pub const MAX_AUDIT_TAIL_BYTES: u64 = 1 << 20;
/// A log's file when it is full, unless `AUDIT_ROTATE_BYTES` is set: about 150,000 lines, read by any editor.
pub const AUDIT_ROTATE_BYTES: u64 = 64 << 20;
/// Lines that wait in memory for a disk that does not take them; the oldest go first, and a line says how many went.
pub const MAX_AUDIT_BACKLOG_BYTES: usize = 1 << 20;
/// Between two syncs of a log, and two tries at a disk that did not take a line: a burst costs one, and a power cut what came within it.
pub const AUDIT_SYNC_PAUSE: Duration = Duration::from_secs(1);
/// A line in the log that says how many of a kind were left out, in this time, and one in ours for all trouble with the disk.
pub const AUDIT_COUNT_PAUSE: Duration = Duration::from_secs(60);
/// Refusals of callers and agents without a valid key that have a line each: so many at once, and one each this time. Anybody can make them.
pub const AUDIT_STRANGERS: (u64, Duration) = (60, Duration::from_secs(10));
/// Refusals of callers with a key: a cron job may ask a whole fleet that is away.
pub const AUDIT_REFUSALS: (u64, Duration) = (20_000, Duration::from_millis(500));
/// Connects and disconnects of agents: a fleet may come back at once, twice; one that flaps must not fill the disk.
pub const AUDIT_LINES: (u64, Duration) = (65_536, Duration::from_millis(500));
/// Bytes of an event that count as one line of its budget: most have less. A key of control characters has 24 KB.
pub const AUDIT_LINE_BYTES: usize = 512;
/// What a server may ask of an agent that keeps a record: at most 140 MB of lines a day, each question with its end, and a tenth of that at once. What would have no line is refused.
pub const AUDIT_ASKED: (u64, Duration) = (10_000, Duration::from_secs(1));

// The control plane

/// A request's head: what programs send is far below.
pub const MAX_HEAD_BYTES: usize = 16 << 10;
/// Header lines of a request.
pub const MAX_HEADERS: usize = 64;
/// A request's body: a batch of clients fits.
pub const MAX_BODY_BYTES: usize = 64 << 10;
/// Connections that are at the door or with the control plane, each with a thread. With `CONTROL_LISTEN` each port has half of it. One address may have half of them as long as it has not said who it is; how strangers make way is said in `door/hall.rs`. A silent one costs 20 KiB, one with a head at its bound 36, one behind a TLS handshake 43.
pub const MAX_DOOR_CONNECTIONS: usize = 4096;
/// Connections that the kernel holds until we accept them: with std's 128, ten thousand agents coming back at once took 6.9 s, with this 2.5 s.
pub const ACCEPT_BACKLOG: i32 = 4096;
/// Pause after an accept that failed for want of descriptors or memory: it would fail again at once.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Lines in the log about trouble of one kind in [`COMPLAINT_PAUSE`]: enough to see who it is, when it is a few.
pub const COMPLAINTS_AT_ONCE: u32 = 10;
/// How long no more is said then: a flood must not fill the disk as well; so it is at most a few hundred bytes a second.
pub const COMPLAINT_PAUSE: Duration = Duration::from_secs(10);
/// Lines that a server makes an agent log in that time: a pull makes two or three; the rest is counted and left out.
pub const MAX_LINES_BY_SERVER: u32 = 1000;
/// The control plane's silence before and within an answer: the longest wait, and room for a slow disk.
pub const RELAY_TIME: Duration = Duration::from_secs(MAX_WAIT_SECONDS + 30);
/// What a refused caller may still take to read its answer and hang up.
pub const DRAIN_TIME: Duration = Duration::from_secs(2);
/// What a refused caller may still send, read and dropped: many programs send a whole body before they look for an answer.
pub const MAX_DRAINED_BYTES: usize = 16 << 20;
/// `Retry-After` where the door itself answers 429 or 503, in seconds.
pub const RETRY_AFTER_SECONDS: u32 = 5;
/// Path of a Unix socket: Linux takes 107 bytes, the BSDs 103.
pub const MAX_SOCKET_PATH_BYTES: usize = 100;
/// Requests that the control plane has at once: all that may wait, and as many again as any operator makes.
pub const MAX_RELAYED: usize = MAX_PARKED + 256;
/// Connections that are on their way in as one client: the one that has it, and those that were given up a moment ago.
pub const MAX_ENTERING: usize = 8;
/// Probes (`/healthz`, `/readyz`) that the control plane has at once: each takes it milliseconds, and anybody can make them.
pub const MAX_PROBES: usize = 16;
/// Callers that wait for a transfer's end or a listing.
pub const MAX_PARKED: usize = 1024;
/// An answer that is sent without a thread of its own: it fits the control socket's buffer, whether the caller reads or not.
pub const MAX_PROMPT_ANSWER_BYTES: usize = 64 << 10;
/// Callers that take a file or a long answer, each with a thread and a descriptor.
pub const MAX_FILE_READERS: usize = 64;
/// Transfers that have not ended, queued and interrupted ones too: each costs a kilobyte of memory.
pub const MAX_LIVE_TRANSFERS: usize = 100_000;
/// Transfers in one answer.
pub const MAX_LISTED_TRANSFERS: usize = 1000;
/// Transfers in one answer when `limit` is not given.
pub const DEFAULT_LISTED_TRANSFERS: usize = 100;
/// Clients that are remembered after they went.
pub const MAX_KNOWN_CLIENTS: usize = 20_000;

// Retries

/// Attempts in a row without a byte of progress, after which a transfer fails with the last reason.
pub const MAX_IDLE_ATTEMPTS: u32 = 5;
/// Attempts in all: far more than 10 GB need over a line that dies every few seconds. Each costs the server the reading of what it has, however little it brings.
pub const MAX_ATTEMPTS: u32 = 1000;
/// Attempts at a file that changes while it is read: one that is written to all the time never holds still.
pub const MAX_CHANGED_ATTEMPTS: u32 = 3;
/// Attempts that may end with the wrong hash: the second mends what is here, the third begins with nothing.
pub const MAX_MISMATCHED_ATTEMPTS: u32 = 3;
/// The slowest `maxRate`, in bytes a second: slower, and a piece would look like a stall.
pub const MIN_RATE: u64 = 1 << 10;
/// Fewer bytes than this on a whole line in `STALL_SECONDS` are no file that comes slowly; nor is any number of text messages and pings that are shorter than this.
pub const MIN_PROGRESS_BYTES: usize = 1 << 10;
/// First pause before an agent dials again.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Longest pause before an agent dials again.
pub const BACKOFF_MOST: Duration = Duration::from_secs(60);
/// A line that held this long was healthy: the next pause is the first one again.
pub const HEALTHY_TIME: Duration = Duration::from_secs(60);

// The line

/// The head of a proxy's answer to CONNECT: status line, a challenge or two, and whatever its owner's branding adds.
pub const MAX_PROXY_HEAD_BYTES: usize = 8 << 10;
/// Read buffer of a connection, in bytes. An idle line keeps it, so small; a message that is longer than what is left of it is read into
/// memory of its own. A file of 1 KiB fits with its start and end: one system call.
pub const READ_BUFFER_BYTES: usize = 2 << 10;
/// Bytes that wait unsent in an agent's socket, beyond what the network has been given: what is posted later waits behind
/// them, 50 ms at 20 Mbit/s. With half of it, 1 Gbit/s over 100 ms loses 5 %; without a bound, a second pull at 20 Mbit/s waits 2.5 s.
pub const MAX_UNSENT_BYTES: u32 = 128 << 10;
/// Pings and pongs in one beat: a peer sends one or two.
pub const MAX_CONTROL_FRAMES_A_BEAT: u32 = 1000;
/// Text messages from a client in one second, without `same`, which covers bytes: the busiest line that we plan for has 1,200, of 400 pulls.
pub const MAX_TEXTS_A_SECOND: u32 = 12_000;
/// Stack of a thread that serves one line or one transfer, in bytes: address space, not memory, and ten times what its deepest call takes. Of
/// ten thousand idle lines each had 12 KiB of it resident.
pub const SMALL_STACK: usize = 256 << 10;
/// Stack of a connection until it is let in, and of a caller: plain it has 16 KiB resident, with a TLS handshake 24. Smaller than the other, because glibc
/// gives the stack of a thread that has ended to the next one that it is large enough for, with the pages that were used: a line would
/// keep those of a handshake.
pub const DOOR_STACK: usize = 128 << 10;
/// Clients that a server is made for. Where fewer fit, its log says so as a warning.
pub const PLANNED_CLIENTS: usize = 10_000;
/// `vm.max_map_count`, where it can't be read.
pub const USUAL_MAPS: usize = 65_530;
/// Memory maps of a thread: its stack, the stack of its signals, and a guard for each.
pub const MAPS_A_THREAD: usize = 4;
/// Threads that are left out of what maps allow: tiny_http's, which nobody counts, and 2,048 maps for everything else (heaps, large buffers,
/// files).
pub const SPARE_THREADS: usize = MAX_RELAYED + 512;

// TLS

/// What a line that is idle keeps to read records into; a ping takes 40.
pub const TLS_IDLE_BYTES: usize = 512;
/// What is read from a socket at once under TLS while much comes: two records (RFC 8446, section 5.1).
pub const TLS_READ_BYTES: usize = 32 << 10;
/// A PEM file: a bundle of all public authorities has 220 KiB.
pub const MAX_PEM_BYTES: u64 = 4 << 20;
/// Between two looks, as connections come, whether certificates have changed.
pub const CERTIFICATE_LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Names of one certificate: those of a client's that are looked at, those that a server's is made for.
pub const MAX_CERTIFICATE_NAMES: usize = 64;
/// A URI in a client's certificate that begins so names a client id: ids may have letters that a DNS name may not.
pub const CLIENT_URI_SCHEME: &str = "towline:";
/// Days that a certificate of `towline-server certs` holds: programs of some makers take none that hold for longer, and a key that was lost has an end.
pub const MAX_CERTIFICATE_DAYS: u64 = 825;
/// Days that its authority holds: each machine has a copy, so it is what is renewed least; longer than any that it signs.
pub const AUTHORITY_DAYS: u64 = 3650;
/// A clock that stands before this (2025, in milliseconds since 1970) was never set: what it dates would have expired long ago.
pub const EARLIEST_CLOCK_MS: u64 = 1_735_689_600_000;

// Settings

/// The highest `MAX_PULLS_PER_HOUR`: each pull that counts is remembered for an hour, in about 150 bytes.
pub const MAX_COUNTED_PULLS: u64 = 10_000;
/// A `.env` file: the largest sensible one has a few KiB.
pub const MAX_ENV_FILE_BYTES: u64 = 1 << 20;
/// A secret: it must fit the head of a request, and a URL where `TOKEN_IN_URL` is set.
pub const MAX_SECRET_BYTES: usize = 1024;

// Keys

/// `KEYS_FILE`: ten thousand clients with two keys each have 6 MB.
pub const MAX_KEYS_FILE_BYTES: u64 = 16 << 20;
/// Patterns of one kind that a key has: they are looked at for each transfer in a list.
pub const MAX_KEY_PATTERNS: usize = 256;
/// How long a `keys` command waits for another one that changes the same file: each takes milliseconds.
pub const KEYS_LOCK_TIME: Duration = Duration::from_secs(10);
/// Between two looks whether that one is done.
pub const KEYS_LOCK_PAUSE: Duration = Duration::from_millis(20);
/// What a file's times may be off: the steps in which the coarsest file system counts, FAT's.
pub const FILE_TIME_STEP: Duration = Duration::from_secs(2);
/// Wrong keys from one address that are answered at once: anybody mistypes.
pub const FREE_FAILURES: u32 = 3;
/// How long the answer to the next one is held back; each further one doubles it.
pub const FIRST_HOLD: Duration = Duration::from_millis(100);
/// The longest that an answer is held back: it keeps a thread and a descriptor of ours.
pub const MAX_HOLD: Duration = Duration::from_secs(3);
/// One wrong key is forgotten in this time: an agent that tries again once a minute never waits.
pub const FAILURE_FORGOTTEN: Duration = Duration::from_secs(10);
/// Wrong keys that are counted: all are forgotten after three minutes.
pub const MAX_COUNTED_FAILURES: u32 = 18;
/// Addresses whose wrong keys are counted, 64 bytes each; all others share one count.
pub const MAX_FAILING_ADDRESSES: usize = 4096;
/// Links from a watched name to its file, as many as the system follows.
pub const MAX_LINKS: usize = 40;
/// Between two looks at a file that cannot be watched.
pub const LOOK_PAUSE: Duration = Duration::from_secs(1);

// The operator's command

/// Connecting to the server, and sending it a request.
pub const CALL_TIME: Duration = Duration::from_secs(10);
/// How long a pull that waits bears a server that does not answer: a restart takes seconds.
pub const PULL_PATIENCE: Duration = Duration::from_secs(60);
/// Clients in one `towline pull`: each has a thread and a parked call.
pub const MAX_PULLED_CLIENTS: usize = 256;
/// A file that is made to try things out: larger ones fill a temporary folder before they show more.
pub const MAX_SAMPLE_BYTES: u64 = 10_000_000_000;
/// Agents of one `towline swarm`: each has a thread, of which a process can have some 16,000.
pub const MAX_SWARM_AGENTS: u64 = 10_000;
/// An answer: `/clients` with every client that a server can hold, and usual labels.
pub const MAX_ANSWER_BYTES: u64 = 64 << 20;
