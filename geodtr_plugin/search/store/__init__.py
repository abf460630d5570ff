"""A gallery in a vector store: Milvus Lite in a folder, or a Milvus server; both speak the same calls (pymilvus).

address.py      where a store is, as people write it
connection.py   the client; what goes wrong becomes a sentence
collection.py   the fields of a reference, what is written, found and deleted
gallery.py      search: candidates from the store's own index, ranked again by their stored vectors
filling.py      several processes embed what a store does not hold yet
"""
