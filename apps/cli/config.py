"""`edgellm config`: every setting, its value and where that came from."""

import os

from edgellm.apps.cli import options as cli
from edgellm.apps.cli.output import print_json
from edgellm.apps.cli.settings import KEYS, SETTINGS, config_file, home, read_config


def command(json: cli.Json = False) -> None:
    """Show each setting's value and where it comes from."""
    values = read_config()
    rows = []
    for setting in SETTINGS:
        if setting.variable in os.environ:
            value, origin = os.environ[setting.variable], setting.variable
        elif setting.name in values:
            value, origin = values[setting.name], str(config_file())
        else:
            value, origin = setting.default, "default"
        rows.append({"name": setting.name, "value": value, "origin": origin})
    for name, key in values.get(KEYS, {}).items():
        rows.append({"name": f"{KEYS}.{name}", "value": key, "origin": str(config_file())})
    if json:
        print_json({"home": str(home()), "config_file": str(config_file()), "settings": rows})
        return
    print(f"home: {home()}")
    print(f"config file: {config_file()}")
    for row in rows:
        print(f"{row['name']} = {row['value']}  ({row['origin']})")
