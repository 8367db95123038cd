//! Steps that several cases share.

use lab::Result;
use lab::command::{output, wait_for};
use lab::probe::{Probe, echo_server, tcp_transfer};

use crate::bench::{Bench, Ends, FAR_HOST, Opponent, fail};
use crate::case::{Initiator, Opposite};
use crate::ping::Pings;

/// Port of the peer's echo server.
pub const ECHO_PORT: u16 = 7000;
const TRANSFER_PORT: u16 = 7001;
const TRANSFER_MEGABYTES: u32 = 4;

/// The tunnel comes up, packets pass both ways, both ends show the expected texts.
pub fn tunnel(bench: &mut Bench) -> Result<()> {
    bench.raise()?;
    bench.ping_both_ways()?;
    bench.ends_agree()?;
    bench.judge_wire()
}

/// A transfer between the ends themselves: the peer's kernel must have nothing but transport mode.
pub fn transport(bench: &mut Bench) -> Result<()> {
    bench.raise()?;
    bench.ping_both_ways()?;
    bench.transfer_both_ways()?;
    bench.ends_agree()?;
    let states = bench.stranger.program().exec(&["ip", "xfrm", "state"])?;
    let esn = states.lines().any(|line| line.contains("flag ") && line.contains(" esn"));
    if !states.contains("mode transport") || states.contains("mode tunnel") || esn != bench.case.esn() {
        return fail(&format!("the stranger's kernel has\n{states}"));
    }
    bench.judge_wire()
}

/// The same, and a file of 4 MB passes each way with its checksum.
pub fn transfer(bench: &mut Bench) -> Result<()> {
    bench.raise()?;
    bench.ping_both_ways()?;
    bench.transfer_both_ways()?;
    bench.ends_agree()?;
    bench.judge_wire()
}

impl Bench<'_> {
    /// The initiator of the case brings up the tunnel. If it is ours, the first packet is held
    /// until then and answered.
    pub fn raise(&self) -> Result<()> {
        match self.case.initiator {
            Initiator::Tohub => self.raise_by_traffic()?,
            Initiator::Stranger => self.initiate_child("net")?,
        }
        self.wait_until_up()
    }

    /// The first packet is answered. A virtual machine on a busy computer may take longer than a
    /// packet is held.
    fn raise_by_traffic(&self) -> Result<()> {
        match self.case.opposite {
            Opposite::Namespace(_) => self.ping_from_host(1, 20),
            _ => wait_for("the tunnel", 60, || self.ping_from_host(1, 5).ok()),
        }
    }

    /// The peer begins.
    pub fn initiate_child(&self, child: &str) -> Result<()> {
        match self.case.opposite {
            Opposite::LibreswanOnKernel => {
                self.stranger.program().exec(&["ipsec", "whack", "--name", "gw", "--initiate"]).map(drop)
            }
            _ => self
                .stranger
                .program()
                .swanctl(&["--initiate", "--child", child, "--timeout", "20"])
                .map(drop),
        }
    }

    /// Both ends have an IKE SA and a child.
    pub fn wait_until_up(&self) -> Result<()> {
        wait_for("both ends to show the tunnel", 15, || self.is_up().then_some(()))
    }

    /// The same, without waiting.
    pub fn is_up(&self) -> bool {
        let ours = self.our_sas().is_ok_and(|text| text.contains("READY") && text.contains("Status: ACTIVE"));
        ours && self.their_sas().is_ok_and(|text| text.contains("ESTABLISHED") && text.contains("INSTALLED"))
    }

    /// Our output about IKE and ESP SAs.
    pub fn our_sas(&self) -> Result<String> {
        Ok(self.gateway.cli("show crypto ikev2 sa detailed")? + &self.gateway.cli("show crypto ipsec sa")?)
    }

    /// The peer's list of SAs.
    pub fn their_sas(&self) -> Result<String> {
        let program = self.stranger.program();
        match self.case.opposite {
            Opposite::LibreswanOnKernel => {
                let text = program.exec(&["ipsec", "whack", "--trafficstatus"])?
                    + &program.exec(&["ipsec", "whack", "--showstates"])?;
                // Translates its terms into those of strongSwan.
                Ok(text
                    .replace("established Child SA", "INSTALLED")
                    .replace("established IKE SA", "ESTABLISHED"))
            }
            _ => program.swanctl(&["--list-sas"]),
        }
    }

    /// Checks that each end shows the expected texts.
    pub fn ends_agree(&mut self) -> Result<()> {
        let (ours, theirs) = (self.our_sas()?, self.their_sas()?);
        for (wanted, text) in self
            .case
            .we_show
            .iter()
            .map(|wanted| (wanted, &ours))
            .chain(self.case.they_show.iter().map(|wanted| (wanted, &theirs)))
        {
            if !text.contains(wanted.as_str()) {
                return fail(&format!("`{wanted}` is not in\n{text}"));
            }
        }
        Ok(())
    }

    /// Five small and three large pings from our side, five from the peer's.
    pub fn ping_both_ways(&self) -> Result<()> {
        self.ping_from_host(5, 3)?;
        self.ping_from_stranger(5)?;
        let ends = self.ends();
        Pings::new(ends.far_address, 3, 3).of_size(1300).send_from(ends.near)
    }

    /// Pings from the host behind us, each of which must be answered.
    pub fn ping_from_host(&self, count: u32, patience: u32) -> Result<()> {
        let ends = self.ends();
        Pings::new(ends.far_address, count, patience).send_from(ends.near)
    }

    /// Pings from the peer's network.
    pub fn ping_from_stranger(&self, count: u32) -> Result<()> {
        let ends = self.ends();
        Pings::new(ends.near_address, count, 3).with_source(ends.far_address).send_by(self.stranger.program())
    }

    /// Whether a single ping from the host is answered; for cases in which it must not be.
    pub fn is_answered(&self, target: &str) -> Result<bool> {
        output(self.host.command("ping").args(["-c", "1", "-W", "2", target]))
            .map(|output| output.status.success())
    }

    /// 4 MB each way, 1 MB with a virtual machine; checksums compared.
    pub fn transfer_both_ways(&mut self) -> Result<()> {
        let Ends { near, near_address, far_address } = self.ends();
        let (there, back) = match &self.stranger {
            Opponent::Own(_, network) => (
                tcp_transfer(near, network, far_address, TRANSFER_PORT, TRANSFER_MEGABYTES, 40)?,
                tcp_transfer(network, near, near_address, TRANSFER_PORT, TRANSFER_MEGABYTES, 40)?,
            ),
            Opponent::Guest(machine, _) => (
                machine.receive(near, far_address, TRANSFER_PORT, 1)?,
                machine.send(near, near_address, TRANSFER_PORT, 1)?,
            ),
        };
        for (way, transfer) in [("there", &there), ("back", &back)] {
            if !transfer.intact || transfer.bytes == 0 {
                return fail(&format!("the transfer {way} arrived damaged: {transfer:?}"));
            }
        }
        self.seen.push(format!("{} MB each way, intact", there.bytes >> 20));
        Ok(())
    }

    /// An echo every 10 ms through the tunnel, until the probe is dropped.
    pub fn probe(&self) -> Result<(lab::probe::Helper, Probe)> {
        let echo = echo_server(self.stranger.namespace(), ECHO_PORT)?;
        let probe = Probe::start(&self.host, &format!("{FAR_HOST}:{ECHO_PORT}"), 10)?;
        probe.wait_for_echo(5)?;
        Ok((echo, probe))
    }
}
