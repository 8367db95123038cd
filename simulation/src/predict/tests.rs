use super::*;

const BRANCH: &str = include_str!("../../../examples/branch.cfg");
const WITH_PROFILE: &str = include_str!("../../../examples/branch-ikev2-profile.cfg");

fn main_job(configuration: &str) -> Prediction {
    let events = ["t=30s down 10.1.1.1", "t=200s up 10.1.1.1"];
    let traffic = ["icmp every 1s 0s..300s", "icmp every 1s 450s..460s"];
    predict(&Scenario::parse(configuration, &events, &traffic).unwrap()).unwrap()
}

#[test]
fn the_main_job_is_predicted_with_its_reasons() {
    let prediction = main_job(BRANCH);
    let detection = prediction.detection_ms("10.1.1.1", 30_000).unwrap();
    assert!((20_000..=23_000).contains(&detection), "{detection}");
    let outage = prediction.longest_silence_ms(30_000, 200_000).unwrap();
    assert!(
        (detection + 20_000..detection + 24_000).contains(&outage),
        "the default is tried for 20 s first: {outage}"
    );
    let carriers: Vec<&str> = prediction.carried.iter().map(|carried| carried.peer.as_str()).collect();
    assert_eq!(carriers, ["10.1.1.1", "10.2.2.2", "10.1.1.1"], "{}", prediction.to_text());
    let idle = prediction.timeline.iter().find(|moment| moment.text.contains("(idle-default)")).unwrap();
    assert!((420_000..=422_000).contains(&idle.at_ms), "120 s after the last packet: {}", idle.at_ms);
    assert!(idle.why.as_ref().unwrap().contains("idle timer"));
    assert_eq!(prediction.outages.len(), 1, "{}", prediction.to_text());
}

#[test]
fn a_profile_with_a_named_peer_is_mirrored_too() {
    let prediction =
        predict(&Scenario::parse(WITH_PROFILE, &["t=20s down hub1"], &["udp every 500ms 1s..120s"]).unwrap())
            .unwrap();
    let carriers: Vec<&str> = prediction.carried.iter().map(|carried| carried.peer.as_str()).collect();
    assert_eq!(carriers, ["hub1"], "the stock give-up time is longer: {}", prediction.to_text());
    assert!(prediction.detection_ms("hub1", 20_000).is_some());
}

#[test]
fn the_same_scenario_gives_the_same_prediction() {
    assert_eq!(main_job(BRANCH), main_job(BRANCH));
}

#[test]
fn a_prediction_takes_milliseconds() {
    let begin = std::time::Instant::now();
    main_job(BRANCH);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn the_page_is_one_file_that_loads_nothing() {
    let page = main_job(BRANCH).to_html();
    assert!(page.contains("<svg") && page.ends_with("</html>\n"));
    for outside in ["http:", "https:", "src=", "href=", "url(", "@import", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let hostile = BRANCH.replace("hostname branch", "hostname <b>&x");
    if let Ok(scenario) = Scenario::parse(&hostile, &[], &[]) {
        assert!(!predict(&scenario).unwrap().to_html().contains("<b>"));
    }
}

#[test]
fn json_has_the_figures() {
    let text = main_job(BRANCH).to_json().unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["detections"][0]["peer"], "10.1.1.1");
    assert_eq!(value["peers"][0]["default"], true);
    assert!(value["timeline"].as_array().unwrap().len() > 10);
}

#[test]
fn every_mistake_has_its_own_remedy() {
    let event = |text: &str| parse_event(text).unwrap_err().to_string();
    assert!(event("down 10.1.1.1").contains("does not begin with a time"));
    assert!(event("t=10 down 10.1.1.1").contains("needs a number and ms, s, m or h"));
    assert!(event("t=s down 10.1.1.1").contains("needs a number"));
    assert!(event("t=9999h down 10.1.1.1").contains("longer than a week"));
    assert!(event("t=1s explode 10.1.1.1").contains("nothing that can happen"));
    assert!(event("t=1s down").contains("needs a peer"));
    assert!(event("t=1s down a b").contains("too much"));
    let traffic = |text: &str| parse_traffic(text).unwrap_err().to_string();
    assert!(traffic("icmp").contains("not of this form"));
    assert!(traffic("gre every 1s 0s..1s").contains("not icmp, tcp or udp"));
    assert!(traffic("icmp every 1s 5s..1s").contains("ends before it begins"));
    assert!(traffic("icmp every 0ms 0s..1s").contains("at least 1ms"));
    assert!(traffic("icmp every 1ms 0s..24h").contains("more than a million"));
    assert!(traffic("icmp every 1s 0s..9s to B").contains("from A to B"));
    let scenario = Scenario::parse(BRANCH, &["t=1s down 10.7.7.7"], &[]).unwrap();
    let unknown = predict(&scenario).unwrap_err().to_string();
    assert!(unknown.contains("no peer 10.7.7.7") && unknown.contains("10.1.1.1, 10.2.2.2"), "{unknown}");
    let bare = Scenario::parse("hostname x\n", &[], &[]).unwrap();
    assert!(predict(&bare).unwrap_err().to_string().contains("no interface has a crypto map"));
}
