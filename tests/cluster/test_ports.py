import socket

from tfscale.cluster.ports import free_addresses


def test_free_addresses_are_different_and_free():
    addresses = free_addresses(20)
    assert len(set(addresses)) == 20
    for address in addresses:
        host, _, port = address.rpartition(":")
        with socket.socket() as each:
            each.bind((host, int(port)))
