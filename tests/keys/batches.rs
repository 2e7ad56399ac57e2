//! Batches by an operator that does not reach all clients.

use serde_json::{Value, json};

use crate::limits::ids;
use crate::scene::{Keys, call};
use crate::support::server::Server;
use crate::support::v1_client::V1Client;

fn batch(server: &Server, key: &str, body: &Value) -> (Vec<String>, Vec<Value>) {
    let answer = call(server, key, "POST", "/downloads", Some(body)).expect(202);
    (ids(&answer["transfers"], "clientId"), answer["refused"].as_array().unwrap().clone())
}

#[test]
fn clients_that_it_does_not_reach_are_refused_by_name_and_not_told_of_otherwise() {
    let keys = Keys::new();
    let clients = ["pos-1", "shop-001", "shop-002"].map(|id| (id, keys.client(id)));
    let limited = keys.operator("nightly", "pull", "shop-*", "logs/*");
    let server = keys.server(&[]);
    let _lines = clients.map(|(id, key)| {
        let line = V1Client::dial(server.port, id, &key).unwrap();
        server.lists(id);
        line
    });
    let forbidden = |id: &str| json!({"clientId": id, "error": "forbidden"});
    let log = |clients: Value| json!({"clients": clients, "fileKey": "logs/x"});

    let (begun, refused) = batch(&server, &limited, &log(json!(["pos-1", "shop-001", "pos-9"])));
    assert_eq!(begun, ["shop-001"]);
    assert_eq!(refused, [forbidden("pos-1"), forbidden("pos-9")]);

    let (begun, refused) = batch(&server, &limited, &log(json!(["*"])));
    assert_eq!((begun, refused), (vec!["shop-001".to_owned(), "shop-002".to_owned()], vec![]));
    let (begun, refused) = batch(&server, &limited, &log(json!(["pos-*"])));
    assert_eq!((begun, refused), (vec![], vec![]));
    // Labels too choose among those that it reaches.
    let body = json!({"clients": ["pos-1"], "meta": {"x": 1}, "fileKey": "logs/x"});
    assert_eq!(batch(&server, &limited, &body), (vec![], vec![forbidden("pos-1")]));

    // The file is the same for all of them.
    for key in [json!("db"), Value::Null] {
        let body = json!({"clients": ["*"], "fileKey": key});
        call(&server, &limited, "POST", "/downloads", Some(&body)).expect_error(403, "forbidden");
    }
    let (begun, _) = batch(&server, &server.key, &json!({"clients": ["*"]}));
    assert_eq!(begun, ["pos-1", "shop-001", "shop-002"]);
}
