use serde_json::{Value, json};

use super::*;

fn read(data: Value) -> Configuration {
    Configuration::read(&json!({"data": data}), Some(&json!({"data": {"github-key": "x"}})))
}

fn said(configuration: &Configuration) -> Vec<String> {
    configuration.faults.iter().map(Fault::to_string).collect()
}

#[test]
fn a_whole_configuration_is_read() {
    let all = read(json!({
        "service.github": "appID: $github-key\nprivateKey: $github-key\n",
        "service.webhook.bot": "url: https://bot.example.org\nheaders: [{name: A, value: b}]\n",
        "template.ok": "message: '{{.app.metadata.name}} {{ call .time.Now }}'\nwebhook: {bot: {method: POST, body: '{{ .app | toJson }}'}}\n",
        "trigger.on-ok": "- when: app.status.operationState.phase in ['Succeeded']\n  oncePer: app.status.sync.revision\n  send: [ok]\n",
        "defaultTriggers": "[on-ok]",
        "defaultTriggers.bot": "[on-ok]",
        "subscriptions": "- recipients: ['bot:', github]\n  triggers: [on-ok]\n",
        "context": "a: b\n",
    }));
    assert_eq!(said(&all), [""; 0]);
    assert_eq!(all.services["bot"].kind, "webhook");
    assert!(all.services["github"].secrets.contains("github-key"));
    assert_eq!(all.triggers["on-ok"][0].send, ["ok"]);
    assert_eq!(all.triggers["on-ok"][0].once_per, "app.status.sync.revision");
    assert_eq!(all.service_default_triggers["bot"], ["on-ok"]);
}

#[test]
fn what_is_never_sent_is_told() {
    let all = read(json!({
        "service.slack": "token: $slack-token",
        "service.pigeon": "x: y",
        "templates.old": "message: x",
        "template.broken": "message: '{{ .app'",
        "trigger.on-x": "- when: 'true'\n  send: [none]\n- send: [broken]\n",
        "defaultTriggers": "[on-y]",
        "subscriptions": "- recipients: ['teams:a']\n",
        "elsewhere": "",
    }));
    let said = said(&all);
    for expected in [
        "service.slack: argocd-notifications-secret has no key \"slack-token\"",
        "service.pigeon: no service is of type \"pigeon\"",
        "templates.old: no key begins like this, so it is not read; template is meant",
        "trigger.on-x: there is no template \"none\"",
        "trigger.on-x: a condition without `when` never fires",
        "defaultTriggers: there is no trigger \"on-y\"",
        "subscriptions: there is no service \"teams\"",
        "elsewhere: no such key is read",
    ] {
        assert!(said.iter().any(|fault| fault == expected), "{expected}: {said:#?}");
    }
    assert!(said.iter().any(|fault| fault.starts_with("template.broken: ")), "{said:#?}");
    assert!(all.faults.iter().all(|fault| fault.weight == Weight::Unsent));
}

#[test]
fn what_makes_argo_cd_refuse_everything_is_told() {
    for (key, text) in [
        ("service.webhook.a.b", "url: x"),
        ("template.a", "- x"),
        ("trigger.a", "when: x"),
        ("trigger.a", "- send: x"),
        ("template.a", "message: [unclosed"),
        ("subscriptions", "a: b"),
    ] {
        let all = read(json!({key: text}));
        assert!(all.faults.iter().any(|fault| fault.weight == Weight::Refused), "{key}: {:?}", all.faults);
    }
}
