from edgellm.bundled import bundled_calibration_text, bundled_checkpoint


def test_the_bundled_checkpoint_is_complete() -> None:
    names = {file.name for file in bundled_checkpoint().iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.model", "tokenizer_config.json"}


def test_the_bundled_calibration_text_speaks_several_scripts_and_code() -> None:
    text = bundled_calibration_text()
    assert 8_000 < len(text.encode()) < 1 << 20
    assert all(word in text for word in ("def ", "niemand", "рекой", "時計", "年头", "السوق"))
