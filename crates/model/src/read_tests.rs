use super::*;

crate::document! {
    /// A.
    struct Inner: Default {
        /// x
        pub path: String = "a".to_owned(),
        pub name: Option<u64>,
    }
}
crate::document! {
    /// Outer.
    struct Outer {
        pub inner: Inner = Inner::default(),
        pub backend_refs: Vec<Inner>,
    }
}
#[test]
fn trial() {
    println!("{:?} {}", Inner::default(), serde_json::to_string(&Inner::default()).unwrap());
    println!("{:?}", Outer::shape());
}
