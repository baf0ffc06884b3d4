from edgellm.bundled import bundled_checkpoint


def test_the_bundled_checkpoint_is_complete() -> None:
    names = {file.name for file in bundled_checkpoint().iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.model", "tokenizer_config.json"}
