"""A resource provider that needs no cloud, as a plugin that the CLI finds in its home directory.

Its only resource is `shelf:index:Book` with a `title`. One that nobody made can be read, and so
imported, by any id that begins with `found-`; its title is that id.
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

VERSION = "1.0.0"

BOOKS = """
import pulumi

class Book(pulumi.CustomResource):
    title: pulumi.Output[str]
    def __init__(self, name, title, **options):
        options = pulumi.ResourceOptions(**options)
        super().__init__("shelf:index:Book", name, {"title": title}, options)

config = pulumi.Config()
for name in ("first", "second"):
    Book(name, config.get(name) or name)
"""
"""A program with two books, whose titles the configuration may change."""

SCHEMA = {
    "name": "shelf",
    "version": VERSION,
    "resources": {
        "shelf:index:Book": {
            "properties": {"title": {"type": "string"}},
            "inputProperties": {"title": {"type": "string"}},
            "required": ["title"],
            "requiredInputs": ["title"],
        }
    },
}

PLUGIN = """\
#!{python}
import concurrent.futures
import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc


class Shelf(provider_pb2_grpc.ResourceProviderServicer):
    def GetPluginInfo(self, request, context):
        return plugin_pb2.PluginInfo(version="{version}")

    def GetSchema(self, request, context):
        return provider_pb2.GetSchemaResponse(schema={schema!r})

    def CheckConfig(self, request, context):
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request, context):
        return provider_pb2.DiffResponse()

    def Configure(self, request, context):
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    def Check(self, request, context):
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, request, context):
        some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
        changed = request.olds["title"] != request.news["title"]
        return provider_pb2.DiffResponse(changes=some if changed else none)

    def Create(self, request, context):
        return provider_pb2.CreateResponse(id="made", properties=request.properties)

    def Read(self, request, context):
        if request.id.startswith("found-"):
            found = {{"title": request.id}}
            return provider_pb2.ReadResponse(id=request.id, properties=found, inputs=found)
        known = request.properties if len(request.properties.fields) else None
        return provider_pb2.ReadResponse(
            id=request.id if known else "", properties=known, inputs=request.inputs
        )

    def Update(self, request, context):
        return provider_pb2.UpdateResponse(properties=request.news)

    def Delete(self, request, context):
        return empty_pb2.Empty()

    def Cancel(self, request, context):
        return empty_pb2.Empty()


server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
provider_pb2_grpc.add_ResourceProviderServicer_to_server(Shelf(), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
"""


def install(home: Path) -> None:
    """Put the plugin into a CLI's home directory."""
    place = home / "plugins" / f"resource-shelf-v{VERSION}"
    place.mkdir(parents=True)
    program = place / "pulumi-resource-shelf"
    text = PLUGIN.format(python=sys.executable, version=VERSION, schema=json.dumps(SCHEMA))
    program.write_text(textwrap.dedent(text))
    program.chmod(0o755)
