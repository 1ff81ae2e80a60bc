"""What docker-compose makes of the files in a folder, as JSON.

    docker_compose.py show FOLDER NAME...    the configuration with these servers switched on, by the folder's own script
    docker_compose.py combinations FOLDER    loads every combination of servers with docker-compose's own code

To be run by the Python that docker-compose is installed for.
"""

import functools
import itertools
import json
import os
import pathlib
import subprocess
import sys

import yaml


def switch(name: str) -> str:
    return f"MCP_{name.upper().replace('-', '_')}_ENABLED"


def show(folder: pathlib.Path, names: list[str]) -> None:
    switches = {switch(name): "true" for name in names}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MCP_")}
    shown = subprocess.run(
        ["./compose", "config"],
        cwd=folder,
        env=environment | switches | {"COMPOSE": "docker-compose"},
        stdout=subprocess.PIPE,
        check=True,
    )
    # It writes a dollar sign as two, so that the text can be read again.
    print(json.dumps(yaml.safe_load(shown.stdout)).replace("$$", "$"))


def combinations(folder: pathlib.Path) -> None:
    from compose.config import config, validation
    from compose.config.environment import Environment

    os.chdir(folder)
    files = {path.stem: config.ConfigFile.from_filename(str(path)) for path in sorted(pathlib.Path("services").iterdir())}
    base = config.ConfigFile.from_filename("docker-compose.yml")
    environment = Environment.from_env_file(str(folder))

    # What a file says by itself is the same in each combination: read once, and put together each time.
    read = {}
    process = config.process_config_file

    def process_once(file, *arguments, **options):
        if file.filename not in read:
            read[file.filename] = process(file, *arguments, **options)
        return read[file.filename]

    config.process_config_file = process_once
    validation.load_jsonschema = functools.lru_cache(validation.load_jsonschema)

    def load(names) -> config.Config:
        chosen = [base, *(files[name] for name in names)]
        return config.load(config.ConfigDetails(str(folder), chosen, environment))

    always = {service["name"] for service in load([]).services}
    accepted = 0
    for count in range(len(files) + 1):
        for names in itertools.combinations(files, count):
            services = {service["name"]: service for service in load(names).services}
            assert set(services) == always | set(names), names
            told = {key for key in services["gateway"]["environment"] if key.startswith("GATEWAY_BACKENDS__")}
            wanted = {
                f"GATEWAY_BACKENDS__{name.upper().replace('-', '_')}__{key}" for name in names for key in ("URL", "ALSO_AT", "NAME")
            }
            assert told == wanted, names
            assert set(names) <= set(services["traefik"]["networks"]), names
            accepted += 1
    print(json.dumps({"servers": sorted(files), "accepted": accepted}))


if __name__ == "__main__":
    _, command, folder, *names = sys.argv
    where = pathlib.Path(folder).resolve()
    show(where, names) if command == "show" else combinations(where)
