use serde_json::json;

use super::*;

#[test]
fn scalars_have_the_types_go_gives_them() {
    let text = "a: yes\nb: y\nc: off\nd: 0755\ne: 0o17\nf: 1_000\ng: 0x1F\nh: 08\ni: 1.0\nj: 1e3\nk: ~\nl: 2001-01-01\nm: 1:30\nn: .5\no: +12\np: 18446744073709551615\nq: -0b11\nr: ''\ns: \"yes\"\n<<x: 1\n";
    let expected = json!({"a": true, "b": true, "c": false, "d": 493, "e": 15, "f": 1000, "g": 31, "h": 8, "i": 1,
        "j": 1000, "k": null, "l": "2001-01-01", "m": "1:30", "false": 0.5, "o": 12, "p": 18446744073709551615u64,
        "q": -3, "r": "", "s": "yes", "<<x": 1});
    assert_eq!(from_str(text).unwrap(), expected);
}
