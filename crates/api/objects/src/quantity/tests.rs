use serde_json::json;

use super::*;

#[test]
fn canonical_forms() {
    // (written, canonical), as resource.Quantity prints them.
    for (written, canonical) in [
        ("0", "0"),
        ("1", "1"),
        ("500m", "500m"),
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1.5", "1500m"),
        ("1.5Gi", "1536Mi"),
        ("1Gi", "1Gi"),
        ("1024Mi", "1Gi"),
        ("1000Mi", "1000Mi"),
        ("512", "512"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("12e-1", "1200e-3"),
        ("1E", "1E"),
        ("100k", "100k"),
        ("1000k", "1M"),
        ("0.1Ki", "102400m"),
        ("1023", "1023"),
        ("100u", "100u"),
        ("0.0000000001", "1n"),
        ("-1.5Gi", "-1536Mi"),
        ("+2", "2"),
        (".5", "500m"),
        ("5.", "5"),
        ("0.5Gi", "512Mi"),
        ("128974848", "128974848"),
        ("129e6", "129e6"),
        ("129M", "129M"),
        ("123Mi", "123Mi"),
        ("0Gi", "0"),
        ("2048", "2048"),
        ("1.25Ki", "1280"),
        ("1Ki", "1Ki"),
        ("1023Ki", "1023Ki"),
    ] {
        assert_eq!(Quantity::parse(written).unwrap().to_string(), canonical, "{written}");
    }
}

#[test]
fn malformed_quantities_are_refused() {
    for bad in ["", "m", "1.5.2", "1 Gi", "Gi", "1gi", "1K", "--1", "1e", "0x10", "1Gi2", "NaN", "1ee3", "."]
    {
        assert!(Quantity::parse(bad).is_err(), "{bad:?} was accepted");
    }
}

#[test]
fn amounts_convert_and_round_up() {
    assert_eq!(Quantity::parse("250m").unwrap().as_milli(), 250);
    assert_eq!(Quantity::parse("1").unwrap().as_milli(), 1000);
    assert_eq!(Quantity::parse("100u").unwrap().as_milli(), 1);
    assert_eq!(Quantity::parse("1.5Gi").unwrap().as_bytes(), 1_610_612_736);
    assert_eq!(Quantity::parse("-1").unwrap().as_bytes(), 0);
    assert_eq!(Quantity::from_value(&json!(0.5)).unwrap().as_milli(), 500);
    assert_eq!(Quantity::from_value(&json!(2)).unwrap(), Quantity::parse("2000m").unwrap());
}

#[test]
fn hostile_sizes_neither_overflow_nor_hang() {
    for text in [&"9".repeat(5000), "1e999999999", "1e-999999999", "9999999999999999999999999999Ei"] {
        if let Ok(quantity) = Quantity::parse(text) {
            let _printed = quantity.to_string();
            assert!(quantity.as_units() >= 0);
        }
    }
}

proptest::proptest! {
    #[test]
    fn printing_keeps_the_amount(milli in proptest::num::i64::ANY, suffix in "(|m|k|M|Ki|Mi|Gi)") {
        let quantity = Quantity::parse(&format!("{}{suffix}", milli / 1_000_000)).unwrap();
        proptest::prop_assert_eq!(Quantity::parse(&quantity.to_string()).unwrap(), quantity);
    }
}
