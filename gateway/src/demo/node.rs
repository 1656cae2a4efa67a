//! The CoAP nodes: a door that PUTs its state, a lamp that observes what it shall do.

use std::time::Duration;

use motegate_coap::client::{Event, Request, RequestId};
use motegate_coap::endpoint::Method;

use super::stage::{Actor, Stage, Way};
use crate::client::{CoapClient, Error, Target};

const DOOR: Actor = Actor { protocol: "coap", name: "demo-door" };
const LAMP: Actor = Actor { protocol: "coap", name: "demo-lamp" };
const DOOR_TOPIC: &str = "demo/door";
/// The lamp follows the panel, and shows the heat of the first sensor.
const LAMP_TOPICS: [&str; 2] = ["demo/lamp", "demo/env-1/temp"];
/// Between two movements of the door.
const PAUSE: Duration = Duration::from_millis(3500);

/// Reports whether it is open.
pub(super) struct Door<'a> {
    client: CoapClient,
    stage: &'a Stage,
}

impl<'a> Door<'a> {
    pub(super) async fn connect(target: &Target, stage: &'a Stage) -> Result<Self, Error> {
        let client = CoapClient::open(target, stage.clock, false).await?;
        Ok(Door { client, stage })
    }

    pub(super) async fn play(&mut self) -> Result<(), Error> {
        for state in ["open", "closed"].iter().cycle() {
            self.stage.sends(DOOR, DOOR_TOPIC, state);
            let mut request = request(&self.client, Method::Put, DOOR_TOPIC);
            request.payload = state.as_bytes().to_vec().into();
            let response = self.client.ask(request).await?;
            refused(Method::Put, DOOR_TOPIC, response.code)?;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Its value goes with it.
    pub(super) async fn leave(&mut self) {
        let request = request(&self.client, Method::Delete, DOOR_TOPIC);
        let _ = self.client.ask(request).await;
    }
}

/// Does what it is told.
pub(super) struct Lamp<'a> {
    client: CoapClient,
    stage: &'a Stage,
    /// By topic.
    observations: [Option<RequestId>; LAMP_TOPICS.len()],
}

impl<'a> Lamp<'a> {
    pub(super) async fn open(target: &Target, stage: &'a Stage) -> Result<Self, Error> {
        let client = CoapClient::open(target, stage.clock, false).await?;
        Ok(Lamp { client, stage, observations: [None; LAMP_TOPICS.len()] })
    }

    pub(super) async fn observe(&mut self) -> Result<(), Error> {
        for (topic, observation) in LAMP_TOPICS.iter().zip(&mut self.observations) {
            let id = self.client.start(request(&self.client, Method::Get, topic).observe());
            *observation = Some(id);
            loop {
                // The first answer is the value so far, and none of this demo.
                if let Event::Response { request, response } = self.client.next().await?
                    && request == id
                {
                    refused(Method::Get, topic, response.code)?;
                    break;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn play(&mut self) -> Result<(), Error> {
        let [first, second] = LAMP_TOPICS;
        self.stage.does(LAMP, &format!("observes {first} and {second}"))?;
        loop {
            let Event::Notification { request, response } = self.client.next().await? else {
                continue;
            };
            let of = self.observations.iter().position(|id| *id == Some(request));
            if let Some(topic) = of.and_then(|index| LAMP_TOPICS.get(index)) {
                refused(Method::Get, topic, response.code)?;
                self.stage.got(LAMP, topic, &response.payload, Way::Straight)?;
            }
        }
    }

    pub(super) async fn leave(&mut self) {
        let observations: Vec<RequestId> = self.observations.iter().copied().flatten().collect();
        let _ = self.client.end(&observations).await;
    }
}

fn request(client: &CoapClient, method: Method, topic: &str) -> Request {
    let mut request = client.to_target(method);
    request.path = ["mqtt"].into_iter().chain(topic.split('/')).map(str::to_owned).collect();
    request
}

fn refused(method: Method, topic: &str, code: motegate_coap::endpoint::Code) -> Result<(), Error> {
    if code.class() == 2 {
        return Ok(());
    }
    Err(Error::Refused {
        text: format!("{method:?} of /mqtt/{topic}: {}.{:02}", code.class(), code.detail()),
        hint: "the demo needs the rule `passthrough` and access to demo/#".into(),
    })
}
