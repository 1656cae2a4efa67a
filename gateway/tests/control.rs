//! The control interface as a user meets it: its socket, its commands, its description.

mod common;

use std::io::{Read as _, Write as _};
use std::net::UdpSocket;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::client::{Configured, Said};
use common::{PATIENCE, Program, connect, motegate, packet, read_packet, string};
use serde_json::Value;

/// A directory of this test's own, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let name = format!("motegate-control-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a directory");
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A command, run in a directory where no gateway of another test is found.
fn said_in(directory: &Path, line: &str) -> Said {
    let mut command = motegate(&line.split(' ').collect::<Vec<_>>());
    command.current_dir(directory).env("XDG_RUNTIME_DIR", directory);
    command.env_remove("MOTEGATE_CONTROL");
    said_by(command)
}

fn said_by(mut command: Command) -> Said {
    let output = command.output().expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn get(socket: &Path, target: &str) -> (u16, String, Value) {
    request(socket, "GET", target)
}

/// One request by hand: status, head and body.
fn request(socket: &Path, method: &str, target: &str) -> (u16, String, Value) {
    let mut stream = UnixStream::connect(socket).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let request = format!("{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, head.to_lowercase(), serde_json::from_str(body).unwrap_or(Value::Null))
}

fn dev_socket(directory: &Path, program: &Program) -> PathBuf {
    directory.join(format!("motegate/dev-{}.sock", program.address("mqtt").port()))
}

/// A retained message by MQTT.
fn retain(program: &Program, topic: &str, payload: &str) {
    let mut client = connect(program.address("mqtt"), 4, "retainer");
    let mut body = Vec::new();
    string(&mut body, topic);
    body.extend([0, 1]);
    body.extend(payload.as_bytes());
    client.write_all(&packet(0x33, &body)).expect("it reads");
    assert_eq!(read_packet(&mut client).map(|(first, _)| first), Some(0x40), "PUBACK");
}

#[test]
fn every_command_has_a_help_of_80_columns_with_examples() {
    let topics = ["topics tree", "topics get", "topics observed"];
    for command in ["status", "clients list", "clients show"].into_iter().chain(topics) {
        let directory = std::env::temp_dir();
        let text = said_in(&directory, &format!("{command} --help")).good();
        assert!(text.contains(&format!("Usage: motegate {command}")), "{text}");
        let example = text.lines().filter(|l| l.starts_with(&format!("  motegate {command}")));
        assert!(example.count() > 0, "{text}");
        for word in ["--control <PATH>", "MOTEGATE_CONTROL", "-o, --output", "motegate-data"] {
            assert!(text.contains(word), "`{word}` is not in\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
    for command in ["clients", "topics"] {
        let text = said_in(&std::env::temp_dir(), &format!("{command} --help")).good();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}

#[test]
fn without_a_gateway_every_command_says_where_it_looked() {
    let directory = Directory::new("nobody");
    let topics = ["topics tree", "topics get t", "topics observed"];
    for line in ["status", "clients list", "clients show x"].into_iter().chain(topics) {
        let words = ["no gateway answers at", "motegate-data/control.sock", "motegate dev"];
        said_in(&directory.0, line).bad(5, &words);
        let line = format!("{line} --control ./elsewhere.sock");
        said_in(&directory.0, &line).bad(5, &["./elsewhere.sock", "--control"]);
    }
    std::fs::create_dir(directory.0.join("sub")).unwrap();
    std::fs::write(directory.0.join("sub/motegate.yaml"), "data_dir: ./data\n").unwrap();
    said_in(&directory.0, "status -c sub/motegate.yaml").bad(
        5,
        &["at sub/data/control.sock\n  try: start it: motegate run -c sub/motegate.yaml\n"],
    );
    said_in(&directory.0, "status -c missing.yaml").bad(3, &["missing.yaml"]);
    // Whatever else is wrong with the file: the gateway would say so.
    std::fs::write(directory.0.join("sub/motegate.yaml"), "data_dir: ./d\nnone: 1\n").unwrap();
    said_in(&directory.0, "status -c sub/motegate.yaml").bad(5, &["at sub/d/control.sock\n"]);
    let sub = directory.0.join("sub");
    for line in ["status", "reload"] {
        said_in(&sub, line).bad(5, &["d/control.sock"]);
    }
    let mut command = motegate(&["status"]);
    command.current_dir(&directory.0).env("MOTEGATE_CONTROL", "/by/variable.sock");
    said_by(command).bad(5, &["/by/variable.sock"]);
}

#[test]
fn status_tells_of_a_dev_gateway() {
    let directory = Directory::new("status");
    let program = Program::dev_in(&directory.0);
    let _client = connect(program.address("mqtt"), 5, "panel");
    let text = said_in(&directory.0, "status").good();
    let mqtt = program.address("mqtt").to_string();
    for word in [&*mqtt, "clients      mqtt 1 active", "max_connections", "1 open, 1 accepted"] {
        assert!(text.contains(word), "`{word}` is not in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(said_in(&directory.0, "status --limits").good().contains("max_topic_levels"));
    // Who says goodbye was neither refused nor dropped.
    said_in(&directory.0, &format!("sub -p {} -t a -E", program.address("mqtt").port())).good();
    let ended = (0..200).map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20)); // between two questions
        said_in(&directory.0, "status").good()
    });
    let text = ended.into_iter().find(|text| text.contains("client_disconnect")).expect("it left");
    assert!(text.contains("ended in good order:\n  client_disconnect  1\n"), "{text}");
    assert!(!text.contains("refused, closed"), "{text}");
    let json: Value =
        serde_json::from_str(&said_in(&directory.0, "status -o json").good()).unwrap();
    assert_eq!(json["pid"], program.id());
    assert_eq!(json["clients"][0]["count"], 1);
    let limits = json["limits"].as_array().unwrap();
    let connections = limits.iter().find(|limit| limit["key"] == "max_connections").unwrap();
    assert_eq!((&connections["used"], &connections["acted"]), (&1.into(), &0.into()));
    let line = said_in(&directory.0, "status -o ndjson").good();
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn clients_are_listed_and_shown() {
    let directory = Directory::new("clients");
    let program = Program::dev_in(&directory.0);
    let mut panel = connect(program.address("mqtt"), 4, "panel/1 ä");
    let mut body = vec![0, 7];
    string(&mut body, "site/+");
    body.push(1);
    panel.write_all(&packet(0x82, &body)).unwrap();
    assert_eq!(read_packet(&mut panel).map(|(first, _)| first), Some(0x90));
    let others: Vec<_> =
        (0..7).map(|n| connect(program.address("mqtt"), 5, &format!("c{n}"))).collect();

    let text = said_in(&directory.0, "clients list").good();
    assert_eq!(text.lines().count(), 8);
    assert!(text.contains("panel/1 ä") && text.contains("mqtt 3.1.1") && text.contains("1 sub"));
    let lines = said_in(&directory.0, "clients list -o ndjson --limit 3").good();
    assert_eq!(lines.lines().count(), 3);
    let json = said_in(&directory.0, "clients list -o json --protocol mqtt --state active").good();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["clients"].as_array().map(Vec::len), Some(8));
    assert_eq!(said_in(&directory.0, "clients list --state asleep").good(), "");
    said_in(&directory.0, "clients list --state tired").bad(2, &["tired", "asleep"]);
    said_in(&directory.0, "clients list --protocol amqp").bad(2, &["amqp", "mqtt-sn"]);

    let mut command = motegate(&["clients", "show", "panel/1 ä"]);
    command.current_dir(&directory.0).env("XDG_RUNTIME_DIR", &directory.0);
    let text = said_by(command).good();
    assert!(text.contains("subscribed  site/+  qos 1"), "{text}");
    said_in(&directory.0, "clients show nobody").bad(1, &["nobody is called `nobody`"]);
    let json = said_in(&directory.0, "clients show c3 -o json").good();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["clients"][0]["version"], &json["clients"][0]["kept"]),
        (&"5.0".into(), &false.into())
    );
    drop(others);
}

#[test]
fn topics_are_a_tree_and_their_values_are_read() {
    let directory = Directory::new("topics");
    let program = Program::dev_in(&directory.0);
    for (topic, payload) in
        [("site/kitchen/temp", "21.5"), ("site/kitchen", "lit"), ("site/door", "open"), ("up", "1")]
    {
        retain(&program, topic, payload);
    }
    let tree = "site  (3 topics)\n  door  open\n  kitchen  (1 topic)  lit\n    temp  21.5\nup  1\n";
    assert_eq!(said_in(&directory.0, "topics tree").good(), tree);
    let below = "kitchen  (1 topic)  lit\n";
    let shallow = said_in(&directory.0, "topics tree site --depth 1").good();
    assert_eq!(shallow, format!("door  open\n{below}"));
    let cut = said_in(&directory.0, "topics tree --limit 2");
    assert!(cut.err.contains("there is more"), "{}", cut.err);
    assert_eq!(cut.good().lines().count(), 2);
    let lines = said_in(&directory.0, "topics tree site -o ndjson").good();
    let topics: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let topics: Vec<&str> = topics.iter().filter_map(|level| level["topic"].as_str()).collect();
    assert_eq!(topics, ["site/door", "site/kitchen", "site/kitchen/temp"]);
    let none = said_in(&directory.0, "topics tree none");
    assert!(none.err.contains("nothing is retained below `none`"), "{}", none.err);
    assert_eq!(none.good(), "");
    for (filter, topic) in [("#", ""), ("site/#", " site")] {
        let tree = said_in(&directory.0, &format!("topics tree{topic}")).good();
        assert_eq!(said_in(&directory.0, &format!("topics tree {filter}")).good(), tree);
    }
    said_in(&directory.0, "topics tree site/+").bad(2, &["site/+", "wildcard"]);

    let value = said_in(&directory.0, "topics get site/kitchen/temp");
    assert!(value.err.contains("4 bytes, qos 1, from retainer"), "{}", value.err);
    assert_eq!(value.good(), "21.5\n");
    let json = said_in(&directory.0, "topics get site/door -o json").good();
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["payload"], "open");
    said_in(&directory.0, "topics get site").bad(1, &["nothing is retained on `site`"]);
    said_in(&directory.0, "topics get site/#").bad(2, &["site/#", "wildcards"]);
}

#[test]
fn receivers_are_told() {
    let directory = Directory::new("receivers");
    let program = Program::dev_in(&directory.0);
    let mut panel = connect(program.address("mqtt"), 4, "panel");
    let mut body = vec![0, 7];
    string(&mut body, "site/#");
    body.push(0);
    panel.write_all(&packet(0x82, &body)).unwrap();
    read_packet(&mut panel).expect("a SUBACK");
    let socket = dev_socket(&directory.0, &program);
    let (status, _, told) = get(&socket, "/api/v1/receivers?topic=site%2Fdoor&qos=1");
    assert_eq!((status, &told["receivers"][0]["text"]), (200, &"qos 0, now".into()));
    assert_eq!(told["receivers"][0]["client"]["client_id"], "panel");
    assert_eq!(get(&socket, "/api/v1/receivers?topic=a&qos=3").0, 400);
    assert_eq!(get(&socket, "/api/v1/receivers").0, 400);
}

/// The largest topic is in the status, all of them are listed.
#[test]
fn observers_of_topics_are_counted() {
    let directory = Directory::new("observed");
    let program = Program::dev_in(&directory.0);
    let nobody = said_in(&directory.0, "topics observed");
    assert!(nobody.err.contains("nothing is observed"), "{}", nobody.err);
    assert_eq!(nobody.good(), "");
    let coap = program.address("coap");
    let sockets: Vec<UdpSocket> =
        (0..3).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a port")).collect();
    for (socket, topics) in sockets.iter().zip([&b"ab"[..], b"b", b"b"]) {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        for topic in topics {
            // GET with Observe 0 of /mqtt/TOPIC.
            let mut bytes = vec![0x41, 1, 0, *topic, *topic, 0x60, 0x54];
            bytes.extend_from_slice(b"mqtt");
            bytes.extend_from_slice(&[0x01, *topic]);
            socket.send_to(&bytes, coap).unwrap();
            let mut answer = [0; 64];
            let n = socket.recv(&mut answer).expect("an answer");
            assert_eq!(answer[1..n.min(2)], [0x45]);
        }
    }
    let listed = said_in(&directory.0, "topics observed").good();
    assert_eq!(listed, "      1  a\n      3  b\n");
    let json = said_in(&directory.0, "topics observed -o json").good();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["topics"][1], serde_json::json!({"topic": "b", "observers": 3}));
    let control = dev_socket(&directory.0, &program);
    let (status, _, page) = get(&control, "/api/v1/observed?limit=1");
    assert_eq!((status, &page["next"]), (200, &"a".into()));
    let (status, _, page) = get(&control, "/api/v1/observed?cursor=a");
    assert_eq!(
        (status, &page["topics"][0]["topic"], &page["next"]),
        (200, &"b".into(), &Value::Null)
    );
    assert_eq!(get(&control, "/api/v1/observed?cursor=a%2F%23%2Fb").0, 400);
    let (_, _, told) = get(&control, "/api/v1/status");
    let limits = told["limits"].as_array().unwrap();
    let row = limits.iter().find(|row| row["key"] == "max_observers_per_topic").unwrap();
    assert_eq!((&row["used"], &row["acted"]), (&3.into(), &0.into()));
}

/// Every resource, written down.
const RESOURCES: [(&str, &str); 15] = [
    ("/api/v1/backup", "post"),
    ("/api/v1/clients", "get"),
    ("/api/v1/clients/{id}", "get"),
    ("/api/v1/healthz", "get"),
    ("/api/v1/observed", "get"),
    ("/api/v1/openapi.json", "get"),
    ("/api/v1/readyz", "get"),
    ("/api/v1/receivers", "get"),
    ("/api/v1/reload", "post"),
    ("/api/v1/retained", "get"),
    ("/api/v1/status", "get"),
    ("/api/v1/store/check", "get"),
    ("/api/v1/topics", "get"),
    ("/healthz", "get"),
    ("/readyz", "get"),
];

#[test]
fn the_description_has_every_resource_and_no_other() {
    let directory = Directory::new("openapi");
    let program = Program::dev_in(&directory.0);
    let socket = dev_socket(&directory.0, &program);
    let (status, _, document) = get(&socket, "/api/v1/openapi.json");
    assert_eq!(status, 200);
    let paths = document["paths"].as_object().unwrap();
    let methods = |item: &Value| item.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut described: Vec<(&str, String)> = Vec::new();
    for (path, item) in paths {
        described.extend(methods(item).into_iter().map(|method| (path.as_str(), method)));
    }
    described.sort_unstable();
    assert_eq!(described, RESOURCES.map(|(path, method)| (path, method.to_owned())));
    let mut names = Vec::new();
    for (path, method) in RESOURCES {
        let operation = &paths[path][method];
        names.push(operation["operationId"].as_str().unwrap());
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{path}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let place = if path.contains(&format!("{{{name}}}")) { "path" } else { "query" };
            assert_eq!(parameter["in"], place, "{name} of {path}");
        }
        let target = path.replace("{id}", "nobody");
        let (status, head, body) = request(&socket, &method.to_uppercase(), &target);
        let described = operation["responses"].as_object().unwrap();
        assert!(described.contains_key(&status.to_string()), "{path}: {status} {body}");
        if status != 200 {
            assert!(head.contains("content-type: application/problem+json"), "{head}");
            assert_eq!(body["status"], status);
            assert!(body["code"].is_string() && body["detail"].is_string(), "{body}");
        }
    }
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "an operation's name is its own");
    // Every shape that is named is there.
    let text = document.to_string();
    for name in text.split("\"#/components/schemas/").skip(1) {
        let name = name.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}

#[test]
fn what_is_not_there_is_a_problem_document() {
    let directory = Directory::new("problems");
    let program = Program::dev_in(&directory.0);
    let socket = dev_socket(&directory.0, &program);
    for (target, status, code) in [
        ("/api/v1/nothing", 404, "unknown_path"),
        ("/", 404, "unknown_path"),
        ("/api/v1/clients/nobody", 404, "unknown_client"),
        ("/api/v1/clients?limit=0", 400, "bad_parameter"),
        ("/api/v1/clients?limit=1001", 400, "bad_parameter"),
        ("/api/v1/clients?limit=x", 400, "bad_parameter"),
        ("/api/v1/clients?cursor=x", 400, "bad_parameter"),
        ("/api/v1/clients/%ff", 400, "bad_parameter"),
        ("/api/v1/retained?topic=", 400, "bad_parameter"),
        ("/api/v1/retained?topic=none", 404, "no_retained_value"),
    ] {
        let (found, head, body) = get(&socket, target);
        assert_eq!((found, &body["code"]), (status, &code.into()), "{target}");
        assert!(head.contains("application/problem+json"), "{target}: {head}");
        assert_eq!(body["type"], format!("urn:motegate:problem:{code}"));
    }
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream
        .write_all(b"POST /api/v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 405") && answer.contains("method_not_allowed"),
        "{answer}"
    );
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).expect("it is there").mode() & 0o7777
}

#[test]
fn the_socket_is_the_owners_alone_and_goes_with_the_gateway() {
    let directory = Directory::new("mode");
    // The loosest umask there is.
    let program = env!("CARGO_BIN_EXE_motegate");
    let free = "127.0.0.1:0";
    let script = format!("umask 0; exec {program} dev --mqtt {free} --mqttsn {free} --coap {free}");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).env("XDG_RUNTIME_DIR", &directory.0);
    let program = Program::started(command);
    let socket = dev_socket(&directory.0, &program);
    assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o600, 0o700));
    // An open connection does not hold up the end.
    let _idle = UnixStream::connect(&socket).unwrap();
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
    assert!(!socket.exists());
}

#[test]
fn two_gateways_run_side_by_side() {
    let directory = Directory::new("two");
    let (one, two) = (Program::dev_in(&directory.0), Program::dev_in(&directory.0));
    for program in [&one, &two] {
        let socket = dev_socket(&directory.0, program);
        let line = format!("status -o json --control {}", socket.display());
        let told: Value = serde_json::from_str(&said_in(&directory.0, &line).good()).unwrap();
        assert_eq!(told["pid"], program.id());
    }
    said_in(&directory.0, "status").bad(2, &["several gateways run here", "--control"]);
    // One is killed: the other is found, and the next one clears away what the first left.
    let left = dev_socket(&directory.0, &one);
    one.signal("KILL");
    one.end();
    assert!(left.exists());
    assert_eq!(said_in(&directory.0, "clients list").good(), "");
    let _three = Program::dev_in(&directory.0);
    assert!(!left.exists());
}

const LISTENERS: &str = "version: 1
durability: none
listeners:
  - {protocol: mqtt, bind: \"127.0.0.1:0\", anonymous: true}
  - {protocol: mqttsn, bind: \"127.0.0.1:0\"}
  - {protocol: coap, bind: \"127.0.0.1:0\"}
";

#[test]
fn run_has_its_socket_in_the_data_directory() {
    let gateway = Configured::start("control", &format!("{LISTENERS}data_dir: data/here\n"));
    let socket = gateway.directory.join("data/here/control.sock");
    assert_eq!((mode(&socket), mode(&gateway.directory.join("data"))), (0o600, 0o700));
    let text = said_in(&gateway.directory, "status -c motegate.yaml").good();
    assert!(text.contains(&gateway.address("mqtt").to_string()), "{text}");
    // motegate.yaml is found without being named, and so is the default directory.
    said_in(&gateway.directory, "clients list").good();
    let (status, _, ready) = get(&socket, "/readyz");
    assert_eq!((status, &ready["status"]), (200, &"ok".into()));

    // A second one in the same directory does not start.
    let mut command = motegate(&["run"]);
    command.current_dir(&gateway.directory);
    said_by(command).bad(1, &["another gateway answers at data/here/control.sock", "data_dir"]);

    // Nor does one whose ports are taken, as the first has them: it says that this one runs.
    let address = gateway.address("mqtt");
    let same =
        format!("listeners: [{{protocol: mqtt, bind: \"{address}\"}}]\ndata_dir: data/here\n");
    std::fs::write(gateway.directory.join("same.yaml"), same).unwrap();
    let mut command = motegate(&["run", "-c", "same.yaml"]);
    command.current_dir(&gateway.directory);
    said_by(command).bad(1, &["is taken", "this data_dir runs already", "motegate status"]);

    // From elsewhere, wherever it was started, by its file.
    let elsewhere = Directory::new("elsewhere");
    let file = gateway.directory.join("motegate.yaml");
    let line = format!("status -c {}", file.display());
    assert!(said_in(&elsewhere.0, &line).good().contains(&address.to_string()));
    said_in(&elsewhere.0, &format!("check --live {}", file.display())).good();
    let mut command = motegate(&["run", "-c", "../motegate.yaml"]);
    command.current_dir(gateway.directory.join("data"));
    said_by(command).bad(1, &["another gateway answers at ../data/here/control.sock"]);

    let default = Configured::start("control-default", LISTENERS);
    let line = format!("status -c {}/motegate.yaml", default.directory.display());
    said_in(&elsewhere.0, &line).good();
    assert!(default.directory.join("motegate-data/control.sock").exists());
    said_in(&default.directory, "status").good();
}

#[test]
fn a_gateway_serves_without_a_socket_unless_its_directory_was_asked_for() {
    let directory = Directory::new("unwritable");
    // A file where the directory should be: nobody, root neither, can make it.
    std::fs::write(directory.0.join("motegate-data"), "").unwrap();
    std::fs::write(
        directory.0.join("given.yaml"),
        format!("{LISTENERS}data_dir: ./motegate-data\n"),
    )
    .unwrap();
    let mut command = motegate(&["run", "-c", "given.yaml"]);
    command.current_dir(&directory.0);
    said_by(command).bad(1, &["no control interface", "./motegate-data"]);

    std::fs::write(directory.0.join("motegate.yaml"), LISTENERS).unwrap();
    let mut command = motegate(&["run"]);
    command.current_dir(&directory.0).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let log = common::lines(child.stderr.take().unwrap());
    let mut warned = false;
    loop {
        let line = log.recv_timeout(PATIENCE).expect("it serves");
        warned |= line.contains("no control interface") && line.contains("motegate-data");
        if line.contains("\"ready\"") {
            break;
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    assert!(warned);
}

#[test]
fn explain_says_who_would_get_the_message() {
    let listeners = ["mqtt", "mqttsn", "coap"].map(|protocol| {
        format!("  - {{protocol: {protocol}, bind: \"127.0.0.1:0\", anonymous: true}}\n")
    });
    let text = format!(
        "version: 1\ndurability: none\nlisteners:\n{}mappings:\n  coap:\n    \
         - {{name: door, path: /door, topic: site/door}}\n",
        listeners.concat()
    );
    let gateway = Configured::start("explain-live", &text);
    let line = "explain PUT /door --text open";
    let before = said_in(&gateway.directory, line).good();
    assert!(
        before.contains("topic     site/door") && before.contains("goes to   nobody now"),
        "{before}"
    );
    let mut subscriber = connect(gateway.address("mqtt"), 4, "panel");
    let mut subscribe = vec![0, 1];
    string(&mut subscribe, "site/#");
    subscribe.push(1);
    subscriber.write_all(&packet(0x82, &subscribe)).expect("it reads");
    read_packet(&mut subscriber).expect("a SUBACK");
    let after = said_in(&gateway.directory, line).good();
    assert!(after.contains("goes to   panel      mqtt        qos 1, now"), "{after}");
    let by_name = said_in(&gateway.directory, "explain sn --client mote --topic site/x").good();
    assert!(by_name.contains("goes to   panel "), "{by_name}");
    // What the gateway holds decides the answer.
    assert!(after.ends_with("answer    2.01 Created\n"), "{after}");
    let door = format!("coap://{}/door", gateway.address("coap"));
    said_in(&gateway.directory, &format!("put {door} open")).good();
    let held = said_in(&gateway.directory, line).good();
    assert!(held.ends_with("answer    2.04 Changed\n"), "{held}");
    // From elsewhere, by the socket's path.
    let socket = gateway.directory.join("motegate-data/control.sock");
    let elsewhere = format!(
        "explain PUT /door -o json -c {} --control {}",
        gateway.directory.join("motegate.yaml").display(),
        socket.display()
    );
    let told: Value =
        serde_json::from_str(&said_in(&std::env::temp_dir(), &elsewhere).good()).expect("JSON");
    assert_eq!(told["goes_to"][0]["client"], "panel", "{told}");
}
