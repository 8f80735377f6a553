use super::*;

#[test]
fn topics_read_back() {
    for text in ["patient/a-1.b", "ward/7", "user/0d9a8e6c-6c3c-4c9b-8d7e-2f1a0b9c8d7e"] {
        assert_eq!(Topic::parse(text).unwrap().to_string(), text);
    }
    for bad in ["", "patient", "patient/", "bed/1", "patient/a/b", "patient/a b", "patient/a%2f"] {
        assert_eq!(Topic::parse(bad), None, "{bad}");
    }
}
