//! Microsoft knows a conversion by click, goal and time alone: what takes it back has to repeat them, and to come late enough to find it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Stage,
    platforms::{answer, body, daemon},
};
use crate::support::receiver::Arrival;

const GOOD: &str = "aaaabbbbccccddddeeeeffff00001111";
const BAD: &str = "0000";

/// What stands in a request, be it conversions or adjustments.
fn told(arrival: &Arrival) -> Vec<Value> {
    let lists = body(arrival);
    lists.as_object().into_iter().flat_map(|lists| lists.values()).filter_map(Value::as_array).flatten().cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_repeats_what_its_conversion_is_known_by_and_waits_for_it() {
    let stage = Stage::new().await;
    stage.receiver.script(|arrival| {
        if arrival.path == "/token" {
            return answer(200, &json!({"access_token": "fresh", "expires_in": 3600}));
        }
        if arrival.header("authorization") != Some("Bearer fresh") || arrival.header("developertoken") != Some("dev") {
            return answer(401, &json!({}));
        }
        let bad = |(index, told): (usize, &Value)| {
            let error = json!({"Index": index, "Code": 5500, "ErrorCode": "OfflineConversionMicrosoftClickIdInvalid", "Message": "Bad."});
            (told["MicrosoftClickId"] == BAD).then_some(error)
        };
        let errors: Vec<Value> = told(arrival).iter().enumerate().filter_map(bad).collect();
        answer(200, &json!({ "PartialErrors": errors }))
    });
    let keys = format!(
        "platform = \"microsoft\"\naccount = 1\ncustomer = 2\ngoals = {{ purchase = \"Sale\" }}\ndeveloper_token = \"dev\"\n\
         oauth = {{ client_id = \"c\", refresh_token = \"r\" }}\ntoken_url = \"{}\"\nafter_click = \"0s\"\nrefund_after = \"3s\"\n",
        stage.receiver.url("/token")
    );
    let _daemon = daemon(&stage, &keys).await;
    stage
        .shop(&format!(
            r#"select postback.purchase('1', 100, 'EUR', '{{"msclkid": "{GOOD}"}}'), postback.purchase('2', 50, 'EUR', '{{"msclkid": "{BAD}"}}');
               select postback.refund('2', 'r', 5)"#
        ))
        .await;
    stage.state(1, "delivered").await;
    stage.state(2, "dead: error 5500 OfflineConversionMicrosoftClickIdInvalid: Bad.").await;
    stage.shop(r#"select postback.enrich('1', '{"msclkid": "dddd"}'); select postback.refund('1', 'r', 40)"#).await;
    stage.state(5, "delivered").await;
    stage.shop("select postback.retract('1')").await;
    stage.state(6, "delivered").await;
    stage.settled().await;
    let log = stage.receiver.log();
    let of_order: Vec<(&Arrival, Value)> = log
        .iter()
        .flat_map(|arrival| told(arrival).into_iter().map(move |told| (arrival, told)))
        .filter(|(_, told)| told["MicrosoftClickId"] != BAD)
        .collect();
    let [(sold_at, sold), (restated_at, restated), (_, retracted)] = &of_order[..] else { panic!("{}", stage.receiver.dump()) };
    for key in ["MicrosoftClickId", "ConversionName", "ConversionTime"] {
        assert!(sold[key].is_string() && sold[key] == restated[key] && sold[key] == retracted[key], "{key}: {}", stage.receiver.dump());
    }
    assert_eq!((&restated["AdjustmentType"], restated["AdjustmentValue"].as_f64()), (&json!("Restate"), Some(60.0)));
    assert_eq!((&retracted["AdjustmentType"], &retracted["AdjustmentValue"]), (&json!("Retract"), &Value::Null));
    // The receipt keeps whole seconds.
    assert!(restated_at.at - sold_at.at >= Duration::from_secs(2), "{}", stage.receiver.dump());
    assert!(
        log.iter().all(|arrival| !arrival.path.ends_with("Adjustments/Apply") || told(arrival).iter().all(|told| told["MicrosoftClickId"] == GOOD))
    );
}
