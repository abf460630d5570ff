"""Pictures of the ground as people have them (XYZ and TMS trees, MBTiles, GeoTIFFs), from which tiles are cut.

All are seen in one way: as square blocks of Web Mercator, north up, at one zoom (`TileSource`). What lies in another
projection is warped into them once. A tile is then an upright rectangle of that plane, resized to the network's input.

options.py      what is asked for: metres along a tile, overlap, zoom, area
source.py       the contract of a source
stores.py       pyramids.py     z/x/y trees and MBTiles
rasters.py      GeoTIFF, COG, and images with a world file; mosaics of them
opening.py      from a path to its source
mercator.py     the plane, and metres on the ellipsoid
grid.py         the centres of the tiles, the same whatever they are cut from
cutter.py       tiles out of blocks, each block read once
tile_list.py    the tiles as references that `build_index` takes
"""
