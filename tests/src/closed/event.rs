//! The definition of an event.

use crate::setup::Setup;
use crate::world::Device;

/// A change to a gateway or its environment, under traffic.
#[derive(Debug, Clone)]
pub struct Event {
    /// Unique name; selected by `EVENT=`.
    pub name: String,
    /// Description for the page.
    pub sentence: String,
    /// The configuration and network.
    pub setup: Setup,
    /// The initial state of the machine.
    pub begin: Begin,
    /// The steps.
    pub steps: Vec<Step>,
    /// Whether clear packets are only reported, because IOS would send them too.
    pub clear_as_ios: bool,
}

/// The initial state of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Begin {
    /// The gateway runs; in a setup with a peer the tunnel is up.
    Running,
    /// Only `tohub guard` ran, as at boot; no processes.
    Guarded,
    /// The same, and none of the wires exists yet.
    GuardedWithoutWires,
    /// The same, and the uplink does not exist yet.
    GuardedWithoutUplink,
    /// The gateway ran and was stopped cleanly.
    Stopped,
    /// No program was loaded yet. Packets count from [`Step::Strict`] on.
    Fresh,
}

/// A process of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// `tohub-supervise`, which `tohub supervise` becomes.
    Supervisor,
    /// `tohub-controlplane`.
    ControlPlane,
    /// `tohub-dataplane`.
    DataPlane,
}

impl Process {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Supervisor, Self::ControlPlane, Self::DataPlane];

    /// Name for output.
    pub fn name(self) -> &'static str {
        ["supervisor", "control plane", "data plane"][self as usize]
    }

    /// The last part of its program's path.
    pub fn program(self) -> &'static str {
        ["tohub-supervise", "tohub-controlplane", "tohub-dataplane"][self as usize]
    }
}

/// How a process is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// SIGKILL.
    Kill,
    /// SIGTERM.
    Terminate,
    /// SIGSTOP, and SIGCONT after some hundred milliseconds.
    Pause,
}

impl Ending {
    /// Name for output.
    pub fn name(self) -> &'static str {
        ["SIGKILL", "SIGTERM", "SIGSTOP"][self as usize]
    }
}

/// A start that must fail.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Script run before, in the gateway's namespace, with `$RUN`, `$PINS`, `$CONFIG`.
    pub prepare: String,
    /// Command line words before the program.
    pub wrapper: Vec<String>,
    /// Arguments of `supervise`; `CONFIG` is replaced by the path of the configuration.
    pub arguments: Vec<String>,
    /// The documented exit codes for this failure.
    pub codes: Vec<i32>,
    /// Script run afterwards.
    pub undo: String,
}

/// One step.
#[derive(Debug, Clone)]
pub enum Step {
    /// Some milliseconds pass.
    Wait(u64),
    /// A random time up to this number of milliseconds passes.
    WaitUpTo(u64),
    /// Lines of `ip -batch` in the gateway's namespace, in one process.
    Ip(Vec<String>),
    /// The same at the far end of a wire.
    IpAtFarEnd(Device, Vec<String>),
    /// The same in the empty namespace. `GATEWAY` and `ELSEWHERE` are replaced by the namespaces.
    IpElsewhere(Vec<String>),
    /// The wire is created again: both ends, addresses, routes of the far end.
    Plug(Device),
    /// The far end of a wire is up again, with its addresses and routes.
    Plugged(Device),
    /// A further wire to the internet, whose gateway's end is `spare`, up and without addresses.
    PlugSpare,
    /// The gateway's own addresses on a wire, and its end up.
    Address(Device),
    /// The gateway's routes.
    Route,
    /// Configuration lines, entered in one session.
    Configure(Vec<String>),
    /// The same, line by line with pauses of some milliseconds.
    Type(Vec<String>),
    /// The same, and the session's process is killed before it leaves configuration mode.
    TypeAndLose(Vec<String>),
    /// Configuration lines in one session; the gateway may refuse some.
    TryConfigure(Vec<String>),
    /// Configuration lines that the gateway must refuse.
    Refused(Vec<String>),
    /// An exec command.
    Exec(String),
    /// `tohub guard` alone.
    Guard,
    /// The same; it may fail.
    TryGuard,
    /// `tohub supervise` is started and not waited for.
    Start,
    /// The gateway is ready.
    Ready,
    /// The gateway is ready, or its supervisor has ended.
    ReadyOrEnded,
    /// The gateway is ready; if its supervisor has ended, it is started again first.
    ReadyAtLast,
    /// The gateway is stopped cleanly.
    Stop,
    /// A start that must fail.
    Fails(Failure),
    /// A `tohub` command that must be refused with this exit code; `CONFIG` is replaced by the
    /// file.
    TohubRefuses(Vec<String>, i32),
    /// A process of the gateway is ended.
    End(Process, Ending),
    /// `sh` in the gateway's namespace with `$TOHUB`, `$RUN`, `$PINS`, `$CONFIG`.
    Shell(String),
    /// The forwarding sysctls are set to 1.
    OpenForwarding,
    /// The forwarding sysctls are set to 0, and not changed until [`Step::OpenForwarding`].
    CloseForwarding,
    /// Packets are counted from here on.
    Strict,
    /// Clear packets sent from here on are counted separately.
    Grace,
    /// Unprotected packets of the host leave in clear, as they should.
    UnprotectedPasses,
    /// A TCP connection from the internet to the gateway's outside address comes up, as it should.
    ReachesGateway,
    /// The tunnel comes up.
    TunnelUp,
    /// Packets of the host come out behind the peer.
    TunnelCarries,
}

impl Event {
    /// An event of a running gateway.
    pub fn running(name: String, sentence: String, setup: Setup, steps: Vec<Step>) -> Self {
        Self { name, sentence, setup, begin: Begin::Running, steps, clear_as_ios: false }
    }

    /// An event that begins in another state.
    pub fn from_state(begin: Begin, name: String, sentence: String, setup: Setup, steps: Vec<Step>) -> Self {
        Self { name, sentence, setup, begin, steps, clear_as_ios: false }
    }
}

/// Owned lines.
pub fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}
