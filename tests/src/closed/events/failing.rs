//! Starts that fail, one for each way and exit code. Afterwards the same traffic must be closed as
//! before.

use crate::event::{Begin, Event, Failure, Step, lines};
use crate::setup::Setup;

struct Case {
    name: &'static str,
    sentence: &'static str,
    prepare: &'static str,
    wrapper: &'static [&'static str],
    arguments: &'static [&'static str],
    codes: &'static [i32],
    undo: &'static str,
}

const PLAIN: &[&str] = &["--config", "CONFIG"];
const PUT_BACK: &str = "mv $CONFIG.kept $CONFIG";

/// Sorted by exit code.
const CASES: &[Case] = &[
    Case {
        name: "unknown option",
        sentence: "`tohub supervise` is given an option that it does not have.",
        prepare: "",
        wrapper: &[],
        arguments: &["--config", "CONFIG", "--no-such-option"],
        codes: &[2],
        undo: "",
    },
    Case {
        name: "no --config",
        sentence: "`tohub supervise` is given no configuration.",
        prepare: "",
        wrapper: &[],
        arguments: &[],
        codes: &[2],
        undo: "",
    },
    Case {
        name: "time scale of zero",
        sentence: "An option has a value out of its range.",
        prepare: "",
        wrapper: &[],
        arguments: &["--config", "CONFIG", "--time-scale", "0"],
        codes: &[2],
        undo: "",
    },
    Case {
        name: "unknown core",
        sentence: "The data plane is given a core that the machine does not have.",
        prepare: "",
        wrapper: &[],
        arguments: &["--config", "CONFIG", "--cores", "4095"],
        codes: &[1, 2],
        undo: "",
    },
    Case {
        name: "typing error in the file",
        sentence: "The saved file has a line that is no command.",
        prepare: "cp -p $CONFIG $CONFIG.kept; echo 'crypto mpa tohub 1 ipsec-isakmp' >>$CONFIG",
        wrapper: &[],
        arguments: PLAIN,
        codes: &[3],
        undo: PUT_BACK,
    },
    Case {
        name: "typing error in the access list",
        sentence: "A permit of the crypto access list is mistyped.",
        prepare: "cp -p $CONFIG $CONFIG.kept; echo 'access-list 101 premit ip any any' >>$CONFIG",
        wrapper: &[],
        arguments: PLAIN,
        codes: &[3],
        undo: PUT_BACK,
    },
    Case {
        name: "file cut off",
        sentence: "The saved file ends in the middle of a line, as a full disk leaves it.",
        prepare: "cp -p $CONFIG $CONFIG.kept; truncate -s -12 $CONFIG",
        wrapper: &[],
        arguments: PLAIN,
        codes: &[3],
        undo: PUT_BACK,
    },
    Case {
        name: "file of zeroes",
        sentence: "The saved file holds zeroes, as a crash of the file system leaves it.",
        prepare: "cp -p $CONFIG $CONFIG.kept; head -c 4096 /dev/zero >$CONFIG",
        wrapper: &[],
        arguments: PLAIN,
        codes: &[3],
        undo: PUT_BACK,
    },
    Case {
        name: "no file",
        sentence: "The saved file is not there.",
        prepare: "mv $CONFIG $CONFIG.kept",
        wrapper: &[],
        arguments: PLAIN,
        codes: &[1, 3],
        undo: PUT_BACK,
    },
    Case {
        name: "file is a folder",
        sentence: "In the place of the saved file is a folder, which cannot be read.",
        prepare: "mv $CONFIG $CONFIG.kept; mkdir $CONFIG",
        wrapper: &[],
        arguments: PLAIN,
        codes: &[1, 3],
        undo: "rmdir $CONFIG; mv $CONFIG.kept $CONFIG",
    },
    Case {
        name: "file of another user's right",
        sentence: "The saved file cannot be read by the process (no DAC override, owner another user).",
        prepare: "chown 1:1 $CONFIG; chmod 600 $CONFIG",
        wrapper: &["setpriv", "--bounding-set=-dac_override,-dac_read_search"],
        arguments: PLAIN,
        codes: &[1, 3, 4],
        undo: "chown 0:0 $CONFIG",
    },
    Case {
        name: "no capabilities",
        sentence: "The service manager took all capabilities away.",
        prepare: "",
        wrapper: &["setpriv", "--bounding-set=-all"],
        arguments: PLAIN,
        codes: &[4],
        undo: "",
    },
    Case {
        name: "no right to load programs",
        sentence: "The service manager took CAP_BPF, CAP_SYS_ADMIN and CAP_NET_ADMIN away.",
        prepare: "",
        wrapper: &["setpriv", "--bounding-set=-bpf,-sys_admin,-net_admin"],
        arguments: PLAIN,
        codes: &[4],
        undo: "",
    },
    Case {
        name: "uplink missing",
        sentence: "The device of the uplink has another name today.",
        prepare: "ip link set outside down; ip link set outside name other",
        wrapper: &[],
        arguments: PLAIN,
        codes: &[6],
        undo: "ip link set other down; ip link set other name outside; ip link set outside up",
    },
    Case {
        name: "uplink under another name, up",
        sentence: "The device of the uplink has another name today, and is up with its address and routes.",
        prepare: "ip link set outside down; ip link set outside name other; ip link set other up
            ip route replace default via 192.0.2.2; ip route replace 10.2.0.0/16 via 192.0.2.2",
        wrapper: &[],
        arguments: PLAIN,
        codes: &[6],
        undo: "ip link set other down; ip link set other name outside; ip link set outside up",
    },
    Case {
        name: "MTU too large",
        sentence: "The uplink has jumbo frames, which do not fit into a frame of packet memory.",
        prepare: "ip link set outside mtu 9000",
        wrapper: &[],
        arguments: PLAIN,
        codes: &[6],
        undo: "ip link set outside mtu 1500",
    },
    Case {
        name: "packet memory too large",
        sentence: "More packet memory is asked for than one UMEM may have.",
        prepare: "",
        wrapper: &[],
        arguments: &["--config", "CONFIG", "--frames", "67108864"],
        codes: &[2],
        undo: "",
    },
    Case {
        name: "address space too small",
        sentence: "The service manager allows each process 300 megabytes of address space.",
        prepare: "",
        wrapper: &["prlimit", "--as=300000000"],
        arguments: &["--config", "CONFIG", "--frames", "262144"],
        codes: &[7],
        undo: "",
    },
    Case {
        name: "UDP 500 in use",
        sentence: "Another IKE daemon has UDP port 500.",
        prepare: "setsid tohub-lab-program echo 500 >/dev/null 2>&1 & echo $! >$RUN.echo; sleep 0.2",
        wrapper: &[],
        arguments: PLAIN,
        codes: &[8],
        undo: "kill $(cat $RUN.echo); rm -f $RUN.echo",
    },
    Case {
        name: "UDP 4500 in use",
        sentence: "Another IKE daemon has UDP port 4500.",
        prepare: "setsid tohub-lab-program echo 4500 >/dev/null 2>&1 & echo $! >$RUN.echo; sleep 0.2",
        wrapper: &[],
        arguments: PLAIN,
        codes: &[8],
        undo: "kill $(cat $RUN.echo); rm -f $RUN.echo",
    },
    Case {
        name: "run directory is a file",
        sentence: "In the place of the run directory is a file.",
        prepare: "cp -p $CONFIG $RUN.config; mv $RUN $RUN.kept; touch $RUN",
        wrapper: &[],
        arguments: &["--config", "RUN.config"],
        codes: &[1, 3],
        undo: "rm -f $RUN $RUN.config; mv $RUN.kept $RUN",
    },
    Case {
        name: "full disk",
        sentence: "The run directory is on a file system without a free block.",
        prepare: "",
        wrapper: &[
            "unshare",
            "-m",
            "sh",
            "-c",
            "cp -p $1/startup-config $1.config; mount -t tmpfs -o size=4k,nr_inodes=3 none $1; shift; exec \"$@\"",
            "sh",
            "RUN",
        ],
        arguments: &["--config", "RUN.config"],
        codes: &[1, 3, 7, 10],
        undo: "rm -f $RUN.config",
    },
    Case {
        name: "pins of another kind",
        sentence: "A folder stands in the place of a pinned map.",
        prepare: "mv $PINS/RULES $PINS/kept && mkdir $PINS/RULES",
        wrapper: &[],
        arguments: PLAIN,
        codes: &[10],
        undo: "rmdir $PINS/RULES && mv $PINS/kept $PINS/RULES",
    },
    Case {
        name: "pins exchanged",
        sentence: "Two pinned maps have exchanged their names.",
        prepare: "cd $PINS && mv RULES kept && mv PORTS RULES && mv kept PORTS",
        wrapper: &[],
        arguments: PLAIN,
        codes: &[10],
        undo: "cd $PINS && mv RULES kept && mv PORTS RULES && mv kept PORTS",
    },
];

pub fn events() -> Vec<Event> {
    let mut events = Vec::new();
    for case in CASES {
        for (begin, state, words) in [
            (Begin::Guarded, "after boot", "The boot guard ran."),
            (Begin::Stopped, "after a stop", "The gateway ran before and was stopped."),
        ] {
            events.push(Event::from_state(
                begin,
                format!("failing start: {}, {state}", case.name),
                format!("{words} {} The start fails with exit code {}.", case.sentence, codes(case.codes)),
                Setup::OneUplink,
                vec![Step::Fails(failure(case)), Step::Wait(150)],
            ));
        }
    }
    for process in ["second copy", "second copy with another file"] {
        let change = if process == "second copy" { "" } else { "cp -p $CONFIG $CONFIG.kept; : >$CONFIG" };
        let undo = if change.is_empty() { "" } else { PUT_BACK };
        events.push(Event::running(
            format!("failing start: {process}"),
            format!("A {process} of the gateway is started while it runs; exit code 9."),
            Setup::OneUplink,
            vec![
                Step::Fails(Failure {
                    prepare: change.to_owned(),
                    wrapper: Vec::new(),
                    arguments: lines(PLAIN),
                    codes: vec![9],
                    undo: undo.to_owned(),
                }),
                Step::Wait(150),
            ],
        ));
    }
    events
}

fn failure(case: &Case) -> Failure {
    Failure {
        prepare: case.prepare.to_owned(),
        wrapper: lines(case.wrapper),
        arguments: lines(case.arguments),
        codes: case.codes.to_vec(),
        undo: case.undo.to_owned(),
    }
}

fn codes(codes: &[i32]) -> String {
    codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}
