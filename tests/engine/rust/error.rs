use super::*;

#[test]
fn the_number_of_a_cloned_error_is_found() {
    assert_eq!(cloned_number(&format!("{:?}", io::Error::from_raw_os_error(28))), Some(28));
    assert_eq!(cloned_number("failed to clean file: IO error: No such file or directory (os error 2)"), Some(2));
    assert_eq!(cloned_number("the log is not being written"), None);
}
