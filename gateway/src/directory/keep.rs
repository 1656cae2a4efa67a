//! [`run`]: keeps up the registration that the configuration wants, whichever that is at the time.

use motegate_coap::directory::{Event, Failure, Registration, Settings};
use motegate_config::ResourceDirectory;
use motegate_timers::Instant;
use tokio::sync::mpsc;

use super::hands::{Hands, Outcome};
use super::status::{State, Status};
use super::{Command, LAST_WORDS, Means};
use crate::client::{random, until};

/// RFC 9176 §5: longest name of an endpoint, in bytes.
const MAX_NAME: usize = 63;

/// What follows a registration that is no longer kept.
enum Next {
    Change(Option<Box<ResourceDirectory>>),
    End,
}

/// Until it is told to stop, or nobody can tell it anything any more.
pub(super) async fn run(
    means: Means,
    mut commands: mpsc::UnboundedReceiver<Command>,
    wanted: ResourceDirectory,
) {
    let mut wanted = Some(Box::new(wanted));
    loop {
        let next = match wanted.take() {
            Some(wanted) => Keeper::new(&means, &wanted).keep(&mut commands).await,
            None => match commands.recv().await {
                Some(Command::Change(wanted)) => Next::Change(wanted),
                Some(Command::Stop) | None => Next::End,
            },
        };
        means.status.send_replace(None);
        match next {
            Next::Change(new) => wanted = new,
            Next::End => return,
        }
    }
}

/// How a step ended.
enum Step {
    Came(Outcome),
    /// The machine was told something.
    Told,
    Over,
}

/// Of one registration.
struct Keeper<'a> {
    means: &'a Means,
    wanted: &'a ResourceDirectory,
    machine: Registration,
    status: Status,
    /// What follows, once it was told.
    next: Option<Next>,
    /// When its last words end.
    stop_by: Option<Instant>,
    /// That it fails was told.
    told: bool,
    /// The next registration is worth a line: none was told yet, or that it was lost.
    is_news: bool,
}

impl<'a> Keeper<'a> {
    fn new(means: &'a Means, wanted: &'a ResourceDirectory) -> Self {
        let endpoint = wanted.endpoint.clone().unwrap_or_else(machine_name);
        let settings = Settings {
            directory: wanted.uri.clone(),
            endpoint: endpoint.clone(),
            sector: wanted.sector.clone(),
            lifetime_secs: wanted.lifetime_secs,
            links_every: wanted.links_every,
        };
        let machine = Registration::new(means.clock.now(), settings, random());
        let status = Status::new(wanted, &endpoint);
        let (next, stop_by, told, is_news) = (None, None, false, true);
        Keeper { means, wanted, machine, status, next, stop_by, told, is_news }
    }

    async fn keep(mut self, commands: &mut mpsc::UnboundedReceiver<Command>) -> Next {
        let mut hands = Hands::new(self.means, self.wanted);
        while !self.machine.is_ended() {
            match self.step(&mut hands, commands).await {
                Step::Came(outcome) => {
                    self.status.left_out = hands.left_out;
                    self.hear(outcome);
                }
                Step::Told => {}
                Step::Over => break,
            }
            self.tell(hands.is_here_only);
        }
        self.next.unwrap_or(Next::End)
    }

    /// Does what the machine asks for, or waits with it, until that is done or something else is to.
    async fn step(
        &mut self,
        hands: &mut Hands<'_>,
        commands: &mut mpsc::UnboundedReceiver<Command>,
    ) -> Step {
        let action = self.machine.poll_action();
        let rests = action.is_none();
        let work = hands.perform(action, self.machine.poll_timeout());
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                outcome = &mut work => return Step::Came(outcome),
                command = commands.recv() => {
                    let Some(command) = command else { return Step::Over };
                    self.obey(command);
                    if rests || self.machine.is_ended() {
                        return Step::Told;
                    }
                }
                () = until(self.means.clock, self.stop_by) => {
                    tracing::warn!(
                        directory = self.status.uri,
                        "the registration was not removed in time: it ends with its lifetime"
                    );
                    return Step::Over;
                }
            }
        }
    }

    fn hear(&mut self, outcome: Outcome) {
        let (now, machine) = (self.means.clock.now(), &mut self.machine);
        match outcome {
            Outcome::Time => machine.handle_timeout(now),
            Outcome::Opened(server) => machine.handle_opened(now, server),
            Outcome::Looked(look) => machine.handle_look(now, look),
            Outcome::Answered(response) => machine.handle_response(now, &response),
            Outcome::Failed(why) => machine.handle_failed(now, why),
        }
    }

    fn obey(&mut self, command: Command) {
        let now = self.means.clock.now();
        let next = match command {
            Command::Change(Some(same)) if *same == *self.wanted && self.next.is_none() => {
                return self.machine.nudge(now);
            }
            Command::Change(wanted) => Next::Change(wanted),
            Command::Stop => Next::End,
        };
        if self.next.replace(next).is_none() {
            self.stop_by = Some(now + LAST_WORDS);
            self.machine.stop(now);
        }
    }

    /// To the log and to the status.
    fn tell(&mut self, is_here_only: bool) {
        while let Some(event) = self.machine.poll_event() {
            match event {
                Event::Registered(registered) => {
                    let is_news = std::mem::take(&mut self.is_news);
                    let (base, links) = (registered.base.clone(), registered.links);
                    self.status.confirm(registered);
                    let location = self.status.location();
                    let left_out = self.status.left_out;
                    if is_news {
                        tracing::info!(
                            location,
                            endpoint = self.status.endpoint,
                            base,
                            links,
                            left_out,
                            "registered at the resource directory"
                        );
                    } else {
                        tracing::debug!(location, base, links, left_out, "registered anew");
                    }
                    if is_news && is_here_only {
                        tracing::warn!(
                            base,
                            "clients elsewhere cannot use what they find in the resource \
                             directory: write coap.resource_directory.base"
                        );
                    }
                    self.told = false;
                }
                Event::Renewed(registered) => {
                    self.status.confirm(registered);
                    let location = self.status.location();
                    self.is_news = false;
                    if std::mem::take(&mut self.told) {
                        tracing::info!(location, "the registration is renewed");
                    } else {
                        tracing::debug!(location, "the registration is renewed");
                    }
                }
                Event::Lost(failure) => self.lost(&failure),
                Event::Failed { failure, again_in } => self.failed(&failure, again_in),
                Event::Removed => tracing::info!(
                    location = self.status.location(),
                    "removed from the resource directory"
                ),
            }
        }
        self.status.counts = self.machine.counts();
        self.means.status.send_replace(Some(self.status.clone()));
    }

    fn lost(&mut self, failure: &Failure) {
        self.status.to(State::Registering);
        self.is_news = true;
        tracing::info!(%failure, "the registration was not renewed: the gateway registers anew");
    }

    /// Once and not each time.
    fn failed(&mut self, failure: &Failure, again_in: std::time::Duration) {
        self.status.fail(failure.to_string());
        self.is_news = true;
        let (directory, again_in_s) = (self.status.uri.as_str(), again_in.as_secs());
        if std::mem::replace(&mut self.told, true) {
            tracing::debug!(directory, %failure, again_in_s, "not registered");
        } else {
            tracing::warn!(
                directory,
                %failure,
                again_in_s,
                "not registered at the resource directory; the gateway tries again and again, after \
                 pauses that grow to an hour, and says when it has succeeded"
            );
        }
    }
}

/// What the machine is called, as far as that is a name (RFC 9176 §5).
fn machine_name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let name: String = name.to_string_lossy().chars().filter(|c| !c.is_control()).collect();
    let end = name.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = end.take_while(|end| *end <= MAX_NAME).last().unwrap_or_default();
    match name.get(..end) {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => "motegate".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_a_name_that_fits() {
        let name = machine_name();
        assert!((1..=MAX_NAME).contains(&name.len()), "{name}");
    }
}
