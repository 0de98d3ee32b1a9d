-- Environment module (Lmod) of an installation that docs/clusters.md makes. Copy it to MODULEPATH/libhetero/0.2.0.lua
-- and change `root`. Only the folder with libhetero's own programs is put on the path, so that the user's python
-- and pip stay what they are.
local name = "libhetero"
local version = "0.2.0"
local root = pathJoin("/opt/apps", name, version)

help([[
libhetero: molecules that move, assemble and mix, from cryo-EM images.
    libhetero                      names the programs
    e2hype_version.py --report     what is installed, and the devices that it sees
]])
whatis("Name: " .. name)
whatis("Version: " .. version)
whatis("Category: cryo-EM, structural biology")
whatis("Description: heterogeneity of cryo-EM particles (e2hype_*.py)")

family(name)
prepend_path("PATH", pathJoin(root, "programs"))
-- Packages of other modules, or in the user's home folder, are those of another Python.
unsetenv("PYTHONPATH")
setenv("PYTHONNOUSERSITE", "1")
