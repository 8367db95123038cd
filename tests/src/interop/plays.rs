//! What happens in a case, in steps that several cases share.

use lab::Result;
use lab::command::{output, wait_for};
use lab::probe::{Probe, echo_server, tcp_transfer};

use crate::bench::{Bench, FAR_HOST, HOST, Opponent, fail};
use crate::case::{Initiator, Opposite};

/// Port of the stranger's echo server.
pub const ECHO_PORT: u16 = 7000;
const TRANSFER_PORT: u16 = 7001;
const TRANSFER_MEGABYTES: u32 = 4;

/// The tunnel comes up, packets pass both ways, both ends show what the case says.
pub fn tunnel(bench: &mut Bench) -> Result<()> {
    bench.raise()?;
    bench.ping_both_ways()?;
    bench.ends_agree()?;
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
    /// Whoever begins begins, and the tunnel comes up. Our own first packet waits for it and is answered.
    pub fn raise(&self) -> Result<()> {
        match self.case.initiator {
            Initiator::Tohub => self.raise_by_traffic()?,
            Initiator::Stranger => self.initiate_child("net")?,
        }
        self.wait_until_up()
    }

    /// The first packet is answered. A virtual machine on a busy computer may take longer than a packet is held.
    fn raise_by_traffic(&self) -> Result<()> {
        match self.case.opposite {
            Opposite::Namespace(_) => self.ping_from_host(1, 20),
            _ => wait_for("the tunnel", 60, || self.ping_from_host(1, 5).ok()),
        }
    }

    /// The stranger begins.
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

    /// The same, once.
    pub fn is_up(&self) -> bool {
        let ours = self.our_sas().is_ok_and(|text| text.contains("READY") && text.contains("Status: ACTIVE"));
        ours && self.their_sas().is_ok_and(|text| text.contains("ESTABLISHED") && text.contains("INSTALLED"))
    }

    /// What we show of IKE and of ESP.
    pub fn our_sas(&self) -> Result<String> {
        Ok(self.gateway.cli("show crypto ikev2 sa detailed")? + &self.gateway.cli("show crypto ipsec sa")?)
    }

    /// What the stranger shows.
    pub fn their_sas(&self) -> Result<String> {
        let program = self.stranger.program();
        match self.case.opposite {
            Opposite::LibreswanOnKernel => {
                let text = program.exec(&["ipsec", "whack", "--trafficstatus"])?
                    + &program.exec(&["ipsec", "whack", "--showstates"])?;
                // Its words, in those of strongSwan.
                Ok(text
                    .replace("established Child SA", "INSTALLED")
                    .replace("established IKE SA", "ESTABLISHED"))
            }
            _ => program.swanctl(&["--list-sas"]),
        }
    }

    /// Each end shows what the case demands.
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

    /// Five small and three large pings from each end.
    pub fn ping_both_ways(&self) -> Result<()> {
        self.ping_from_host(5, 3)?;
        self.ping_from_stranger(5)?;
        self.host
            .run("ping", &["-c", "3", "-i", "0.05", "-W", "3", "-s", "1300", FAR_HOST])
            .and_then(|text| all_answered(&text, 3))
    }

    /// Pings from the host behind us, each of which must be answered.
    pub fn ping_from_host(&self, count: u32, patience: u32) -> Result<()> {
        let text = self
            .host
            .run("ping", &["-c", &count.to_string(), "-i", "0.05", "-W", &patience.to_string(), FAR_HOST])?;
        all_answered(&text, count)
    }

    /// Pings from the stranger's network.
    pub fn ping_from_stranger(&self, count: u32) -> Result<()> {
        let text = self.stranger.program().exec(&[
            "ping",
            "-c",
            &count.to_string(),
            "-i",
            "0.05",
            "-W",
            "3",
            "-I",
            FAR_HOST,
            HOST,
        ])?;
        all_answered(&text, count)
    }

    /// Whether a single ping from the host is answered; for the cases in which it must not.
    pub fn is_answered(&self, target: &str) -> Result<bool> {
        output(self.host.command("ping").args(["-c", "1", "-W", "2", target]))
            .map(|output| output.status.success())
    }

    /// 4 MB each way, checksums compared.
    pub fn transfer_both_ways(&mut self) -> Result<()> {
        let (there, back) = match &self.stranger {
            Opponent::Own(_, network) => (
                tcp_transfer(&self.host, network, FAR_HOST, TRANSFER_PORT, TRANSFER_MEGABYTES, 40)?,
                tcp_transfer(network, &self.host, HOST, TRANSFER_PORT, TRANSFER_MEGABYTES, 40)?,
            ),
            Opponent::Guest(machine, _) => (
                machine.receive(&self.host, FAR_HOST, TRANSFER_PORT, 1)?,
                machine.send(&self.host, HOST, TRANSFER_PORT, 1)?,
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

fn all_answered(text: &str, count: u32) -> Result<()> {
    if text.contains(&format!(" {count} received")) {
        Ok(())
    } else {
        fail(&format!("pings were lost:\n{text}"))
    }
}
